package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkTags holds a value, and everything below it, against the tags of its
// fields.
func checkTags(value reflect.Value, path string) []Fault {
	var faults []Fault
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			faults = checkTags(value.Elem(), path)
		}
	case reflect.Slice:
		for i := range value.Len() {
			faults = append(faults, checkTags(value.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			faults = append(faults, checkTags(value.MapIndex(key), joinPath(path, key.String()))...)
		}
	case reflect.Struct:
		if value.Type().PkgPath() != reflect.TypeFor[Config]().PkgPath() {
			return nil // a type of another package, such as time.Time, checks itself
		}
		for i := range value.NumField() {
			field := value.Type().Field(i)
			at := joinPath(path, fieldName(field))
			faults = append(faults, checkField(value.Field(i), field.Tag, at)...)
			faults = append(faults, checkTags(value.Field(i), at)...)
		}
	}
	return faults
}

func checkField(value reflect.Value, tag reflect.StructTag, path string) []Fault {
	switch value.Kind() {
	case reflect.String:
		return checkString(value.String(), tag, path)
	case reflect.Slice:
		return checkList(value, tag, path)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if value.Type() != durationType {
			return checkNumber(float64(value.Int()), tag, path, fmt.Sprint(value.Int()))
		}
		return checkDuration(time.Duration(value.Int()), tag, path)
	case reflect.Float32, reflect.Float64:
		return checkNumber(value.Float(), tag, path, fmt.Sprint(value.Float()))
	case reflect.Pointer:
		if !value.IsNil() {
			return checkField(value.Elem(), tag, path)
		}
	}
	return nil
}

func checkString(s string, tag reflect.StructTag, path string) []Fault {
	if allowed := enumOf(tag); allowed != nil {
		if !slices.Contains(allowed, s) {
			return []Fault{faultf(path, "must be one of %s, is %q", strings.Join(allowed, ", "), s)}
		}
		return nil
	}
	// One fault a value: an empty name also fails its pattern, which says less.
	if low, ok := number(tag, "minLength"); ok && float64(len(s)) < low {
		if s == "" {
			return []Fault{faultf(path, "must not be empty")}
		}
		return []Fault{faultf(path, "must have at least %v characters, has %d", low, len(s))}
	}
	if high, ok := number(tag, "maxLength"); ok && float64(len(s)) > high {
		return []Fault{faultf(path, "must have at most %v characters, has %d", high, len(s))}
	}
	if pattern := tag.Get("pattern"); pattern != "" && s != "" && !regexp.MustCompile(pattern).MatchString(s) {
		want := tag.Get("patternDescription")
		if want == "" {
			want = "text that matches " + pattern
		}
		return []Fault{faultf(path, "%s expected, found %q", want, s)}
	}
	return nil
}

func checkList(value reflect.Value, tag reflect.StructTag, path string) []Fault {
	var faults []Fault
	if low, ok := number(tag, "minItems"); ok && float64(value.Len()) < low {
		if value.Len() == 0 {
			return []Fault{faultf(path, "must not be empty")}
		}
		faults = append(faults, faultf(path, "must have at least %v entries, has %d", low, value.Len()))
	}
	if high, ok := number(tag, "maxItems"); ok && float64(value.Len()) > high {
		faults = append(faults, faultf(path, "must have at most %v entries, has %d", high, value.Len()))
	}
	if tag.Get("uniqueItems") == "true" {
		first := map[any]int{}
		for i := range value.Len() {
			item := value.Index(i).Interface()
			if at, twice := first[item]; twice {
				faults = append(faults, faultf(fmt.Sprintf("%s[%d]", path, i), "duplicate of %s[%d]: %v", path, at, item))
				continue
			}
			first[item] = i
		}
	}
	return faults
}

func checkNumber(n float64, tag reflect.StructTag, path, shown string) []Fault {
	if allowed := enumOf(tag); allowed != nil && !slices.Contains(allowed, shown) {
		return []Fault{faultf(path, "must be %s, is %s", strings.Join(allowed, " or "), shown)}
	}
	if low, ok := number(tag, "minimum"); ok && n < low {
		return []Fault{faultf(path, "must be at least %v, is %s", low, shown)}
	}
	if high, ok := number(tag, "maximum"); ok && n > high {
		return []Fault{faultf(path, "must be at most %v, is %s", high, shown)}
	}
	return nil
}

// checkDuration reads minimum and maximum as durations: minimum:"1s".
func checkDuration(d time.Duration, tag reflect.StructTag, path string) []Fault {
	if low := tag.Get("minimum"); low != "" && d < mustDuration(low) {
		return []Fault{faultf(path, "must be at least %s, is %s", low, d)}
	}
	if high := tag.Get("maximum"); high != "" && d > mustDuration(high) {
		return []Fault{faultf(path, "must be at most %s, is %s", high, d)}
	}
	return nil
}

func mustDuration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic("config: bad duration in a field's tag: " + s)
	}
	return d
}

func enumOf(tag reflect.StructTag) []string {
	if text := tag.Get("enum"); text != "" {
		return strings.Split(text, ",")
	}
	return nil
}

func number(tag reflect.StructTag, key string) (float64, bool) {
	text, ok := tag.Lookup(key)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("config: bad number in a field's tag: " + text)
	}
	return n, true
}

// suggestion offers the known name nearest to a misspelt one, or all of them
// where none is near.
func suggestion(name string, known []string) string {
	best, distance := "", 3
	for _, candidate := range known {
		if d := editDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best != "" {
		return fmt.Sprintf(", did you mean %s?", best)
	}
	return "; known here: " + strings.Join(known, ", ")
}

// editDistance is Levenshtein's, by one row of the table.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
