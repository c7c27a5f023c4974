package template

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on the values of parameters, all inclusive.
const (
	// MaxText is the length of a text, in characters.
	MaxText = 32 << 10
	// MaxItems is the length of a list.
	MaxItems = 1000
	// MaxValues is the size of all values of one rendering, in bytes of JSON.
	MaxValues = 64 << 10
	// MaxInteger is the largest whole number that every JSON reader keeps
	// exactly; its negative is the smallest.
	MaxInteger = 1<<53 - 1
)

const (
	maxChoices = 100
	maxChoice  = 256
	// maxProgram bounds what a pattern compiles to. A match takes at most its
	// size times the length of the text.
	maxProgram = 1000
)

// Type is what values a parameter takes.
type Type string

// The types of parameters.
const (
	String  Type = "string"
	Integer Type = "integer"
	Number  Type = "number"
	Boolean Type = "boolean"
	// Choice is one of some texts.
	Choice Type = "choice"
	// List is a list of one of the others.
	List Type = "list"
)

// Types lists every type.
var Types = []Type{String, Integer, Number, Boolean, Choice, List}

// Parameter is one value that a submitter gives. The limits apply to every
// item where the parameter is a list.
type Parameter struct {
	Name        string `json:"name"`
	Type        Type   `json:"type"`
	Description string `json:"description,omitempty"`
	// Required parameters must be given. One that is not, and has no default,
	// leaves its place empty.
	Required bool            `json:"required,omitempty"`
	Default  json.RawMessage `json:"default,omitempty"`

	// Pattern is a regular expression (RE2) that the whole text must match.
	Pattern string `json:"pattern,omitempty"`
	// MinLength and MaxLength bound a text, in characters; 0 is MaxText.
	MinLength int `json:"minLength,omitempty"`
	MaxLength int `json:"maxLength,omitempty"`
	// Minimum and Maximum bound an integer or a number, inclusive.
	Minimum *float64 `json:"minimum,omitempty"`
	Maximum *float64 `json:"maximum,omitempty"`
	// Choices are the texts that a Choice may be.
	Choices []string `json:"choices,omitempty"`

	// Items is the type of the items of a List; String where it is empty.
	Items Type `json:"items,omitempty"`
	// MinItems and MaxItems bound a list; 0 is the constant MaxItems.
	MinItems int `json:"minItems,omitempty"`
	MaxItems int `json:"maxItems,omitempty"`
}

var parameterName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// Scalar is the type of the parameter's value, or of the items of its list.
func (p Parameter) Scalar() Type {
	if p.Type != List {
		return p.Type
	}
	if p.Items == "" {
		return String
	}
	return p.Items
}

// parameter is a declared one, ready to judge values.
type parameter struct {
	Parameter
	pattern *regexp.Regexp
}

// parameters checks the declarations and returns those that can be used, by
// name.
func (f *faults) parameters(all []Parameter) map[string]*parameter {
	declared := make(map[string]*parameter, len(all))
	for i, p := range all {
		at := fmt.Sprintf("parameters[%d]", i)
		f.check(parameterName.MatchString(p.Name), at+".name",
			"%q is not a name of a parameter (a letter, then letters, digits, '_' and '-', at most 63)", shorten(p.Name))
		if declared[p.Name] != nil {
			f.add(at+".name", "%q is declared twice", shorten(p.Name))
		}
		f.check(utf8.RuneCountInString(p.Description) <= MaxDescription, at+".description", "is longer than %d characters", MaxDescription)
		one := &parameter{Parameter: p}
		declared[p.Name] = one
		before := len(f.list)
		one.declare(f, at)
		if len(p.Default) > 0 && len(f.list) == before {
			f.check(!p.Required, at+".required", "has no meaning with a default; leave one of them out")
			one.value(f, at+".default", p.Default)
		}
	}
	return declared
}

// declare checks what the parameter says of its values.
func (p *parameter) declare(f *faults, at string) {
	if !slices.Contains(Types, p.Type) {
		f.add(at+".type", "%q is not one of %v", shorten(string(p.Type)), Types)
		return
	}
	f.check(p.Type == List || p.Items == "" && p.MinItems == 0 && p.MaxItems == 0, at, "is no list: items, minItems and maxItems have no meaning")
	scalar := p.Scalar()
	if !slices.Contains(Types, scalar) || scalar == List {
		f.add(at+".items", "%q is not one of %v", shorten(string(scalar)), Types[:len(Types)-1])
		return
	}
	text, number := scalar == String, scalar == Integer || scalar == Number
	f.check(text || p.Pattern == "" && p.MinLength == 0 && p.MaxLength == 0, at, "is of type %s: pattern, minLength and maxLength are for strings", scalar)
	f.check(number || p.Minimum == nil && p.Maximum == nil, at, "is of type %s: minimum and maximum are for integers and numbers", scalar)
	f.check(scalar == Choice || p.Choices == nil, at, "is of type %s: choices are for type choice", scalar)
	f.bounds(at, "Length", p.MinLength, p.MaxLength, MaxText)
	f.bounds(at, "Items", p.MinItems, p.MaxItems, MaxItems)
	p.declareNumbers(f, at)
	p.declareChoices(f, at)
	p.declarePattern(f, at)
}

// bounds checks a pair such as minItems and maxItems.
func (f *faults) bounds(at, what string, least, most, limit int) {
	f.check(least >= 0 && least <= limit, at+".min"+what, "%d is outside 0 to %d", least, limit)
	f.check(most >= 0 && most <= limit, at+".max"+what, "%d is outside 0 to %d", most, limit)
	f.check(most == 0 || least <= most, at+".min"+what, "%d is more than max%s, %d", least, what, most)
}

func (p *parameter) declareNumbers(f *faults, at string) {
	for i, bound := range []*float64{p.Minimum, p.Maximum} {
		if bound != nil && p.Scalar() == Integer {
			whole := *bound == math.Trunc(*bound) && math.Abs(*bound) <= MaxInteger
			f.check(whole, at+[]string{".minimum", ".maximum"}[i], "%v is not a whole number of at most %d", *bound, MaxInteger)
		}
	}
	if p.Minimum != nil && p.Maximum != nil {
		f.check(*p.Minimum <= *p.Maximum, at+".minimum", "%v is more than the maximum, %v", *p.Minimum, *p.Maximum)
	}
}

func (p *parameter) declareChoices(f *faults, at string) {
	if p.Scalar() != Choice {
		return
	}
	f.check(len(p.Choices) >= 1 && len(p.Choices) <= maxChoices, at+".choices", "%d choices; 1 to %d are allowed", len(p.Choices), maxChoices)
	for i, choice := range p.Choices[:min(len(p.Choices), maxChoices)] {
		field := fmt.Sprintf("%s.choices[%d]", at, i)
		f.check(len(choice) <= maxChoice, field, "is longer than %d bytes", maxChoice)
		f.check(slices.Index(p.Choices, choice) == i, field, "%q is listed twice", shorten(choice))
	}
}

// declarePattern compiles the pattern, unless it would be costly to match.
func (p *parameter) declarePattern(f *faults, at string) {
	if p.Pattern == "" {
		return
	}
	at += ".pattern"
	if len(p.Pattern) > maxProgram {
		f.add(at, "is longer than %d bytes", maxProgram)
		return
	}
	whole := `^(?:` + p.Pattern + `)$`
	parsed, err := syntax.Parse(p.Pattern, syntax.Perl)
	if err == nil {
		// A pattern may not end the group that is put around it.
		parsed, err = syntax.Parse(whole, syntax.Perl)
	}
	if err != nil {
		f.add(at, "is no regular expression: %s", err)
		return
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		f.add(at, "is too large; use smaller counts of repetition")
		return
	}
	p.pattern = regexp.MustCompile(whole)
}

// value judges one value and returns it as it goes into a tree: a string, a
// json.Number, a bool, or a []any of them. It is nil after a fault.
func (p *parameter) value(f *faults, at string, raw json.RawMessage) any {
	value, err := decode(raw)
	if err != nil {
		f.add(at, "is not JSON: %s", err)
		return nil
	}
	if p.Type != List {
		return p.scalar(f, at, value)
	}
	items, ok := value.([]any)
	if !ok {
		f.add(at, "is %s, and should be a list", describe(value))
		return nil
	}
	least, most := p.MinItems, p.MaxItems
	if most == 0 {
		most = MaxItems
	}
	if len(items) < least || len(items) > most {
		f.add(at, "has %d items; %d to %d are allowed", len(items), least, most)
		return nil
	}
	for i, item := range items {
		items[i] = p.scalar(f, fmt.Sprintf("%s[%d]", at, i), item)
	}
	return items
}

// scalar judges what is no list.
func (p *parameter) scalar(f *faults, at string, value any) any {
	switch p.Scalar() {
	case Boolean:
		if flag, ok := value.(bool); ok {
			return flag
		}
		f.add(at, "is %s, and should be true or false", describe(value))
	case Integer, Number:
		if number, ok := value.(json.Number); ok {
			return p.number(f, at, number)
		}
		f.add(at, "is %s, and should be %s", describe(value), kinds[p.Scalar()])
	default:
		if text, ok := value.(string); ok {
			return p.text(f, at, text)
		}
		f.add(at, "is %s, and should be a string", describe(value))
	}
	return nil
}

func (p *parameter) text(f *faults, at, text string) any {
	if p.Scalar() == Choice {
		if !slices.Contains(p.Choices, text) {
			f.add(at, "%q is not one of %s", shorten(text), strings.Join(p.Choices, ", "))
			return nil
		}
		return text
	}
	most := p.MaxLength
	if most == 0 {
		most = MaxText
	}
	if length := utf8.RuneCountInString(text); length < p.MinLength || length > most {
		f.add(at, "has %d characters; %d to %d are allowed", length, p.MinLength, most)
		return nil
	}
	if p.pattern != nil && !p.pattern.MatchString(text) {
		f.add(at, "%q does not match the pattern %s", shorten(text), p.Pattern)
		return nil
	}
	return text
}

func (p *parameter) number(f *faults, at string, number json.Number) any {
	var value float64
	var out json.Number
	if p.Scalar() == Integer {
		whole, err := strconv.ParseInt(number.String(), 10, 64)
		if err != nil || max(whole, -whole) > MaxInteger || whole == math.MinInt64 {
			f.add(at, "%s is not a whole number of at most %d", shorten(number.String()), MaxInteger)
			return nil
		}
		value, out = float64(whole), json.Number(strconv.FormatInt(whole, 10))
	} else {
		var err error
		if value, err = number.Float64(); err != nil {
			f.add(at, "%s is out of range", shorten(number.String()))
			return nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			panic("template: a finite number that JSON cannot hold: " + err.Error())
		}
		out = json.Number(text)
	}
	if p.Minimum != nil && value < *p.Minimum {
		f.add(at, "%s is less than %v", out, *p.Minimum)
		return nil
	}
	if p.Maximum != nil && value > *p.Maximum {
		f.add(at, "%s is more than %v", out, *p.Maximum)
		return nil
	}
	return out
}

// values judges what a submitter gave: unknown, missing and ill-typed ones all
// at once. The result has the defaults, too; what is in neither is left out.
func (f *faults) values(declared map[string]*parameter, given map[string]json.RawMessage) map[string]any {
	size := 0
	for name, raw := range given {
		size += len(name) + len(raw)
	}
	if size > MaxValues {
		f.add("parameters", "are %d bytes long; at most %d are allowed", size, MaxValues)
		return nil
	}
	values := make(map[string]any, len(declared))
	for _, name := range sortedKeys(given) {
		at := "parameters" + step(name)
		if p := declared[name]; p != nil {
			values[name] = p.value(f, at, given[name])
		} else {
			f.add(at, "is no parameter of this template%s", among(declared))
		}
	}
	for _, name := range sortedKeys(declared) {
		if _, ok := given[name]; ok {
			continue
		}
		p := declared[name]
		switch {
		case len(p.Default) > 0:
			// The default was judged with the declaration.
			values[name] = p.value(&faults{}, "", p.Default)
		case p.Required:
			f.add("parameters"+step(name), "is required")
		}
	}
	return values
}

// among lists what could have been meant.
func among(declared map[string]*parameter) string {
	if len(declared) == 0 {
		return ", which has none"
	}
	const most = 20
	names := sortedKeys(declared)
	if len(names) > most {
		return fmt.Sprintf("; it has %s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return "; it has " + strings.Join(names, ", ")
}
