package tail

import (
	"strings"
	"testing"
)

func TestLastLines(t *testing.T) {
	for _, test := range []struct {
		limit  int
		before string
		want   string
	}{{0, "abc", "abcde"}, {2, "abc", "bcde"}, {2, "abcd", "cdde"}, {3, "abc", "abcde"}, {9, "abc", "abcde"}, {1, "", "de"}} {
		var got strings.Builder
		w := New(test.limit, &got)
		write := func(lines string) {
			for _, line := range lines {
				if err := w.WriteLine([]byte(string(line))); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(test.before)
		for range 2 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if write("de"); got.String() != test.want {
			t.Errorf("the last %d of %s, then de: %s, want %s", test.limit, test.before, got.String(), test.want)
		}
	}
}
