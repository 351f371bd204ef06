package stamp

import (
	"testing"
	"time"
)

func TestStampsAreFoundInAnySplit(t *testing.T) {
	var text []byte
	for n := range 3 {
		text = append(Append(append(text, "some text "...), n), '!')
	}
	for size := 1; size <= len(text); size++ {
		var reader Reader
		found := 0
		for start := 0; start < len(text); start += size {
			reader.Read(text[start:min(start+size, len(text))], func(age time.Duration) {
				if age < 0 || age > time.Minute {
					t.Fatalf("age %v", age)
				}
				found++
			})
		}
		if found != 3 || reader.Lost != 0 {
			t.Fatalf("in pieces of %d: %d found, %d lost", size, found, reader.Lost)
		}
	}
}

func TestAMissingStampIsCounted(t *testing.T) {
	var reader Reader
	reader.Read(Append(Append(nil, 0), 2), func(time.Duration) {})
	if reader.Lost != 1 {
		t.Fatalf("%d lost", reader.Lost)
	}
}
