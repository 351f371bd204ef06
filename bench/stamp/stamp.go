// Package stamp writes into the text of a delta when it was sent and which one of its stream it is, and finds that again
// however many deltas a gateway has joined, or a network has cut.
//
// A stamp is "@", nanoseconds since 1970 in 19 digits, ".", the delta's number in 6 digits, and a blank.
package stamp

import (
	"bytes"
	"time"
)

// Size is how many bytes a stamp has.
const Size = 1 + timeDigits + 1 + numberDigits + 1

const (
	timeDigits   = 19
	numberDigits = 6
	// Numbers begin again at this one.
	numbers = 1_000_000
)

// Append adds the stamp of delta number n, sent now.
func Append(text []byte, n int) []byte {
	text = appendDigits(append(text, '@'), time.Now().UnixNano(), timeDigits)
	text = appendDigits(append(text, '.'), int64(n%numbers), numberDigits)
	return append(text, ' ')
}

// Reader finds the stamps of one stream.
type Reader struct {
	// Lost counts the stamps that did not come in their turn.
	Lost int

	next int
	rest []byte
}

// Read calls found with the age of each stamp that ends in text. What is before a stamp is of no interest.
func (r *Reader) Read(text []byte, found func(age time.Duration)) {
	if len(r.rest) > 0 {
		text = append(r.rest, text...)
	}
	now := time.Now().UnixNano()
	for {
		at := bytes.IndexByte(text, '@')
		if at < 0 {
			r.rest = r.rest[:0]
			return
		}
		text = text[at:]
		if len(text) < Size {
			r.rest = append(r.rest[:0], text...)
			return
		}
		sent := digits(text[1 : 1+timeDigits])
		number := digits(text[2+timeDigits : Size-1])
		if sent < 0 || number < 0 {
			text = text[1:]
			continue
		}
		if int(number) != r.next {
			r.Lost++
		}
		r.next = (int(number) + 1) % numbers
		text = text[Size:]
		found(time.Duration(now - sent))
	}
}

func appendDigits(text []byte, n int64, width int) []byte {
	start := len(text)
	for range width {
		text = append(text, '0')
	}
	for i := start + width - 1; n > 0 && i >= start; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return text
}

// digits is the number that text spells, or -1.
func digits(text []byte) int64 {
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
