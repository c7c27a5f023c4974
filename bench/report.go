package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report collects what was measured, and prints it as it comes.
type report struct {
	out  io.Writer
	part string

	Machine  machine   `json:"machine"`
	Figures  []figure  `json:"figures"`
	Promises []promise `json:"promises"`
}

type machine struct {
	At        time.Time `json:"at"`
	Go        string    `json:"go"`
	Processor string    `json:"processor"`
	Cores     int       `json:"cores"`
	// Load is the load average before the run, LoadAfter at its end; the run's
	// own is part of the latter.
	Load      string `json:"load"`
	LoadAfter string `json:"loadAfter"`
}

// figure is one measured value.
type figure struct {
	Part  string  `json:"part"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// promise is a bound that a measured value has to keep.
type promise struct {
	Part    string  `json:"part"`
	Text    string  `json:"text"`
	Value   float64 `json:"value"`
	Bound   float64 `json:"bound"`
	AtLeast bool    `json:"atLeast"`
	Holds   bool    `json:"holds"`
	// Beside says what the value is made of.
	Beside string `json:"beside"`
}

func newReport(out io.Writer) *report {
	return &report{out: out, Machine: machine{
		At: time.Now().UTC(), Go: runtime.Version(), Processor: processor(), Cores: runtime.NumCPU(), Load: load1(),
	}}
}

func (r *report) header(dir string) {
	m := r.Machine
	fmt.Fprintf(r.out, "%s, %d cores (%s), load %s before, databases in %s\n", m.Go, m.Cores, m.Processor, m.Load, dir)
}

func (r *report) begin(key, title string) {
	r.part = key
	fmt.Fprintf(r.out, "\n(%s) %s\n", key, title)
}

// add records and prints one value.
func (r *report) add(value float64, unit, format string, args ...any) float64 {
	f := figure{r.part, fmt.Sprintf(format, args...), value, unit}
	r.Figures = append(r.Figures, f)
	fmt.Fprintf(r.out, "  %-66s %12s %s\n", f.Name, round(f.Value), f.Unit)
	return value
}

func (r *report) note(format string, args ...any) {
	fmt.Fprintf(r.out, "  "+format+"\n", args...)
}

// atLeast and atMost record a promise; beside says what the value is made of.
func (r *report) atLeast(value, bound float64, text, beside string) {
	r.promise(promise{Text: text, Value: value, Bound: bound, AtLeast: true, Holds: value >= bound, Beside: beside})
}

func (r *report) atMost(value, bound float64, text, beside string) {
	r.promise(promise{Text: text, Value: value, Bound: bound, Holds: value <= bound, Beside: beside})
}

func (r *report) promise(p promise) {
	p.Part = r.part
	r.Promises = append(r.Promises, p)
	fmt.Fprintf(r.out, "  => %s\n", p)
}

func (p promise) String() string {
	relation, word := "at most", "holds"
	if p.AtLeast {
		relation = "at least"
	}
	if !p.Holds {
		word = "DOES NOT HOLD"
	}
	text := fmt.Sprintf("%s: %s, must be %s %s: %s", p.Text, round(p.Value), relation, round(p.Bound), word)
	if p.Beside != "" {
		text += " (" + p.Beside + ")"
	}
	return text
}

// summary prints every promise again and tells whether all hold.
func (r *report) summary() bool {
	if len(r.Promises) == 0 {
		return true
	}
	all := true
	fmt.Fprintf(r.out, "\nLoad %s before, %s at the end. Promised figures\n", r.Machine.Load, r.Machine.LoadAfter)
	for _, p := range r.Promises {
		fmt.Fprintf(r.out, "  (%s) %s\n", p.Part, p)
		all = all && p.Holds
	}
	return all
}

// round writes a value with three digits that count, and thousands apart.
func round(value float64) string {
	switch magnitude := math.Abs(value); {
	case magnitude >= 1000:
		return thousands(int64(math.Round(value)))
	case magnitude >= 100:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case magnitude >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// processor and load1 read what Linux says; elsewhere they say that they do
// not know.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

func load1() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}
