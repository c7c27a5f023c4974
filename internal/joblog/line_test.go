package joblog

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestRewrite(t *testing.T) {
	const stamp = "2026-03-01T10:00:00.000000001Z"
	tests := map[string]struct{ logs, want string }{
		"one container":       {stamp + " hello\n", stamp + " p-0/main hello\n"},
		"prefix, then time":   {"[p-1/side] " + stamp + " hello\n", stamp + " p-1/side hello\n"},
		"time, then prefix":   {stamp + " [p-1/side] hello\n", stamp + " p-1/side hello\n"},
		"brackets in text":    {stamp + " [INFO/x] hello\n", stamp + " p-0/main [INFO/x] hello\n"},
		"empty line":          {stamp + " \n", stamp + " p-0/main \n"},
		"no newline at end":   {stamp + " hello", stamp + " p-0/main hello\n"},
		"line without a time": {stamp + " a\nb c\n", stamp + " p-0/main a\n" + stamp + " p-0/main b c\n"},
		"nothing":             {"", ""},
		"a time of elsewhere": {"2026-03-01T12:00:00+02:00 x\n", "2026-03-01T10:00:00Z p-0/main x\n"},
		"spaces are text":     {stamp + "   x  y \n", stamp + " p-0/main   x  y \n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			partial, err := Rewrite(&out, strings.NewReader(test.logs), "p-0/main", 1<<20)
			if err != nil || partial {
				t.Fatalf("Rewrite = partial %v, %v", partial, err)
			}
			if out.String() != test.want {
				t.Errorf("got  %q\nwant %q", out.String(), test.want)
			}
		})
	}
}

func TestRewriteCutsLongLinesAndStopsAtTheLimit(t *testing.T) {
	long := "2026-03-01T10:00:00Z " + strings.Repeat("x", 3*MaxLine) + "\n"
	var out bytes.Buffer
	if partial, err := Rewrite(&out, strings.NewReader(long), "p/c", 1<<30); partial || err != nil {
		t.Fatalf("partial %v, %v", partial, err)
	}
	total := 0
	for text := range bytes.Lines(out.Bytes()) {
		line, ok := ParseLine(bytes.TrimSuffix(text, []byte{'\n'}))
		if !ok || line.Source != "p/c" || len(line.Text) > MaxLine {
			t.Fatalf("line of %d bytes from %q (%v)", len(line.Text), line.Source, ok)
		}
		total += len(line.Text)
	}
	if total != 3*MaxLine {
		t.Errorf("%d bytes of text came out, %d went in", total, 3*MaxLine)
	}

	out.Reset()
	short := strings.Repeat("2026-03-01T10:00:00Z 0123456789\n", 100)
	partial, err := Rewrite(&out, strings.NewReader(short), "p/c", 1000)
	if err != nil || !partial || out.Len() == 0 || out.Len() > 1000 || !bytes.HasSuffix(out.Bytes(), []byte("789\n")) {
		t.Errorf("limit: partial %v, %v, %d bytes", partial, err, out.Len())
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("2026-03-01T10:00:00.5Z p-0/main hello"))
	f.Add([]byte("2026-03-01T10:00:00Z p/c "))
	f.Add([]byte("no time here"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.ContainsAny(text, "\n") {
			return
		}
		line, ok := ParseLine(text)
		if !ok {
			if !bytes.Equal(line.Text, text) {
				t.Fatalf("%q lost text: %q", text, line.Text)
			}
			return
		}
		again, ok := ParseLine(bytes.TrimSuffix(line.Append(nil), []byte{'\n'}))
		if !ok || !again.At.Equal(line.At) || again.Source != line.Source || !bytes.Equal(again.Text, line.Text) {
			t.Fatalf("%q became %+v and then %+v", text, line, again)
		}
	})
}

func FuzzRewrite(f *testing.F) {
	f.Add([]byte("2026-03-01T10:00:00Z a\n[p-1/c] 2026-03-01T10:00:01Z b\nplain\n"))
	f.Add([]byte("[p/c] \n\n\x00"))
	f.Fuzz(func(t *testing.T, logs []byte) {
		var out bytes.Buffer
		if _, err := Rewrite(&out, bytes.NewReader(logs), "p/c", 1<<20); err != nil {
			t.Fatal(err)
		}
		for text := range bytes.Lines(out.Bytes()) {
			if line, ok := ParseLine(bytes.TrimSuffix(text, []byte{'\n'})); !ok || line.At.Year() > 9999 {
				t.Fatalf("%q gave a line that does not parse: %q", logs, text)
			}
		}
	})
}

func TestZeroTimeIsALine(t *testing.T) {
	text := Line{At: time.Time{}, Source: "p/c", Text: []byte("x")}.Append(nil)
	if line, ok := ParseLine(bytes.TrimSuffix(text, []byte{'\n'})); !ok || !line.At.IsZero() {
		t.Errorf("%q: %+v, %v", text, line, ok)
	}
}
