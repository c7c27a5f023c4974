package cost_test

import (
	"bytes"
	"flag"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/cost"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

var update = flag.Bool("update", false, "write docs/write-units.md anew")

//go:generate go test . -run ^TestDocument$ -update

const documentFile = "../../../../docs/write-units.md"

// target is how many times the given indexes ours must carry.
const target = 20

// measured is what the document tells.
type measured struct {
	Traced   int
	Steps    []stepRow
	Sum      stepRow
	Engines  []engineRow
	Idle     []idleRow
	IdleRate float64
	Ceilings []ceilingRow
	Hottest  []hotRow
	Shards   dynamodb.Shards
	Quota    []quotaRow
}

type stepRow struct {
	Name                                      string
	Jobs, Indexes, State, Events, Write, Read float64
}

type engineRow struct {
	Name                     string
	Ours, Dynoxide, Local    float64
	OursR, DynoxideR, LocalR float64
}

type idleRow struct {
	Name        string
	Write, Read float64
}

type ceilingRow struct {
	Name                    string
	Described, Ours, Factor float64
	// What becomes of 20 times the described ceiling.
	DescribedAt, OursAt cost.Outcome
}

type hotRow struct {
	Name  string
	Units float64
	Keys  int
	Even  float64
}

type quotaRow struct {
	Table string
	Units float64
	Rate  float64
}

// row adds a step up, for one job.
func row(name string, s cost.Step) stepRow {
	r := stepRow{Name: name}
	for of, units := range s.Total() {
		switch {
		case strings.Contains(of, "/"):
			r.Indexes += units.Write / traced
		case of == dynamodb.TableJobs:
			r.Jobs += units.Write / traced
		case of == dynamodb.TableState:
			r.State += units.Write / traced
		case of == dynamodb.TableEvents:
			r.Events += units.Write / traced
		}
		r.Write += units.Write / traced
		r.Read += units.Read / traced
	}
	return r
}

func reportedOf(s cost.Step) (write, read float64) {
	for _, units := range s.Reported {
		write += units.Write / traced
		read += units.Read / traced
	}
	return write, read
}

// How often production renews without jobs: a Sync every 10 s in each region, and
// the leader's lease four times in its length.
const (
	idleRegions    = 3
	secondsPerSync = 10
	leaderSeconds  = 30
)

func measure(t *testing.T) measured {
	t.Helper()
	traces := map[dynamotest.Name]*trace{}
	for _, name := range dynamotest.Names {
		traces[name] = newTrace(t, name)
		traces[name].live()
		traces[name].idle()
	}
	ours := traces[dynamotest.Dynoxide]
	m := measured{Traced: traced, Shards: dynamodb.DefaultShards, Sum: stepRow{Name: "**all**"}}
	var uses [][]cost.Use
	for _, name := range lifeSteps {
		s := ours.meter.Step(name)
		uses = append(uses, s.Uses)
		r := row(name, s)
		m.Steps = append(m.Steps, r)
		m.Sum.Jobs += r.Jobs
		m.Sum.Indexes += r.Indexes
		m.Sum.State += r.State
		m.Sum.Events += r.Events
		m.Sum.Write += r.Write
		m.Sum.Read += r.Read
		e := engineRow{Name: name, Ours: r.Write, OursR: r.Read}
		e.Dynoxide, e.DynoxideR = reportedOf(s)
		e.Local, e.LocalR = reportedOf(traces[dynamotest.Local].meter.Step(name))
		m.Engines = append(m.Engines, e)
	}
	for _, name := range idleSteps {
		r := row(name, ours.meter.Step(name))
		m.Idle = append(m.Idle, idleRow{name, r.Write * traced, r.Read * traced})
	}
	m.IdleRate = m.Idle[0].Write*idleRegions/secondsPerSync + m.Idle[1].Write/leaderSeconds
	m.ceilings(uses)
	return m
}

// ceilings are those of some ways in which jobs come.
func (m *measured) ceilings(uses [][]cost.Use) {
	const quota = 40_000
	life := cost.NewLife(lifeSteps, uses, traced, shards)
	for f, family := range life.Families[:min(len(life.Families), 9)] {
		m.Hottest = append(m.Hottest, hotRow{family.Name, life.Units(f), family.Keys, life.Even(f)})
	}
	for _, way := range []struct {
		name                string
		namespaces, regions int
	}{
		{"one region", 1, 1},
		{"three regions, all in one namespace", 1, 3},
		{"three regions, many namespaces", 100, 3},
		{"many regions, many namespaces", 100, 100},
	} {
		described := simulated(cost.Described(way.namespaces, way.regions))
		ours := simulated(spread(life, way.namespaces, way.regions))
		r := ceilingRow{Name: way.name, Described: described.Ceiling(), Ours: ours.Ceiling()}
		r.Factor = r.Ours / r.Described
		r.DescribedAt, r.OursAt = described.Run(target*r.Described), ours.Run(target*r.Described)
		m.Ceilings = append(m.Ceilings, r)
	}
	for _, q := range []quotaRow{{"jobs", m.Sum.Jobs + m.Sum.Indexes, 0}, {"state", m.Sum.State, 0}, {"events", m.Sum.Events, 0}} {
		q.Rate = quota / q.Units
		m.Quota = append(m.Quota, q)
	}
}

func simulated(life cost.Life) cost.Partitions {
	return cost.Partitions{Life: life, Seconds: 40, Seed: 1}
}

// spread is what becomes of a life when jobs come in several namespaces and
// regions.
func spread(life cost.Life, namespaces, regions int) cost.Life {
	life.Families = slices.Clone(life.Families)
	for f := range life.Families {
		family := &life.Families[f]
		if strings.Contains(family.Name, region) {
			family.Keys *= regions
		}
		if strings.Contains(family.Name, "namespace-index") {
			family.Keys *= namespaces
		}
	}
	return life
}

// TestDocument writes docs/write-units.md, or holds it to what was measured.
// Words must be the same; numbers may differ a little, as sizes do.
func TestDocument(t *testing.T) {
	m := measure(t)
	m.check(t)
	text, err := os.ReadFile("write-units.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := template.Must(template.New("").Parse(string(text))).Execute(&want, m); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(documentFile)
	line := unlike(string(got), want.String())
	if *update && line != "" {
		// What is within the tolerance stays, so that it does not change with
		// every run.
		err = os.WriteFile(documentFile, want.Bytes(), 0o600)
		line = ""
	}
	if err != nil {
		t.Fatal(err)
	}
	if line != "" {
		t.Errorf("%s is not what was measured; run: go generate ./internal/store/dynamodb/cost\n%s", documentFile, line)
	}
}

// check is what must be true of the figures.
func (m *measured) check(t *testing.T) {
	t.Helper()
	for _, c := range m.Ceilings {
		if c.Factor < target {
			t.Errorf("%s: %.0f jobs a second are %.1f times %.0f; want %d times", c.Name, c.Ours, c.Factor, c.Described, target)
		}
		if c.OursAt.Completed < 0.985*target*c.Described || c.DescribedAt.Completed > 1.05*c.Described {
			t.Errorf("%s: at %d times the described ceiling ours completes %.0f, the described %.0f", c.Name, target, c.OursAt.Completed, c.DescribedAt.Completed)
		}
	}
	if m.IdleRate >= idleRegions {
		t.Errorf("idle, %.2f write units a second for %d regions", m.IdleRate, idleRegions)
	}
	for _, step := range m.Idle {
		if strings.HasPrefix(step.Name, "look") && step.Write != 0 {
			t.Errorf("to %s writes %.2f units", step.Name, step.Write)
		}
	}
	for i, e := range m.Engines {
		// Dynoxide counts the writes of indexes once in a transaction, too.
		once := e.Ours - m.Steps[i].Indexes/2
		if near := e.Dynoxide; !within(near, once) && !within(near, e.Ours) {
			t.Errorf("%s: dynoxide says %.2f write units, our rules %.2f", e.Name, near, e.Ours)
		}
		if !within(e.DynoxideR, e.OursR) {
			t.Errorf("%s: dynoxide says %.2f read units, our rules %.2f", e.Name, e.DynoxideR, e.OursR)
		}
		// DynamoDB Local counts one item of each table in a transaction, and no
		// page of a query that finds nothing.
		if e.Local > e.Ours*1.03 || e.LocalR > e.OursR*1.03 {
			t.Errorf("%s: DynamoDB Local says %.2f and %.2f units, our rules %.2f and %.2f", e.Name, e.Local, e.LocalR, e.Ours, e.OursR)
		}
		if e.Local < m.Steps[i].Jobs+m.Steps[i].Indexes-0.1 {
			t.Errorf("%s: DynamoDB Local says %.2f units, less than table jobs takes", e.Name, e.Local)
		}
	}
}

func within(a, b float64) bool { return math.Abs(a-b) <= max(0.15, 0.03*math.Abs(b)) }

var numberRule = regexp.MustCompile(`\d[\d,]*(\.\d+)?`)

// unlike returns the first line in which two texts differ by more than a number
// may.
func unlike(got, want string) string {
	lines, others := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(lines), len(others)) {
		if numberRule.ReplaceAllString(lines[i], "") != numberRule.ReplaceAllString(others[i], "") {
			return lines[i] + "\n" + others[i]
		}
		ours, theirs := numberRule.FindAllString(lines[i], -1), numberRule.FindAllString(others[i], -1)
		for n := range min(len(ours), len(theirs)) {
			a, _ := strconv.ParseFloat(strings.ReplaceAll(ours[n], ",", ""), 64)
			b, _ := strconv.ParseFloat(strings.ReplaceAll(theirs[n], ",", ""), 64)
			if !within(a, b) {
				return lines[i] + "\n" + others[i]
			}
		}
	}
	if len(lines) != len(others) {
		return "the number of lines"
	}
	return ""
}

// TestUnlike: the comparison can fail.
func TestUnlike(t *testing.T) {
	for _, test := range []struct {
		got, want string
		same      bool
	}{
		{"| a | 4.0 |", "| a | 4.1 |", true},
		{"| a | 4.0 |", "| a | 5.0 |", false},
		{"| a | 4.0 |", "| b | 4.0 |", false},
		{"a", "a\nb", false},
	} {
		if (unlike(test.got, test.want) == "") != test.same {
			t.Errorf("%q and %q", test.got, test.want)
		}
	}
}
