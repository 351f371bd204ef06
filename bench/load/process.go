package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Linux counts CPU time for programs in hundredths of a second, whatever it does inside.
const tick = 10 * time.Millisecond

// usage is what a process and all below it have used.
type usage struct {
	cpu      time.Duration
	resident int64
}

// treeUsage reads what the tree of processes below pid has used; nothing for pid 0.
func treeUsage(pid int) usage {
	var total usage
	if pid == 0 {
		return total
	}
	below := map[int]bool{pid: true}
	found := map[int]usage{}
	parents := map[int]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// The name in parentheses may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		number, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parents[number] = int(field(fields, 4))
		found[number] = usage{
			cpu:      time.Duration(field(fields, 14)+field(fields, 15)) * tick,
			resident: field(fields, 24) * int64(os.Getpagesize()),
		}
	}
	for changed := true; changed; {
		changed = false
		for child, parent := range parents {
			if below[parent] && !below[child] {
				below[child], changed = true, true
			}
		}
	}
	for number := range below {
		total.cpu += found[number].cpu
		total.resident += found[number].resident
	}
	return total
}

// field is field n of /proc/PID/stat as its manual counts them, from those behind the name.
func field(fields []string, n int) int64 {
	value, _ := strconv.ParseInt(fields[n-3], 10, 64)
	return value
}
