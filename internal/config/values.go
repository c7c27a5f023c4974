package config

import (
	"reflect"
	"time"
)

// Values is the whole configuration in the shape of the file, as maps, lists
// and scalars: what [Load] reads back as the same configuration. Durations are
// text.
func (c Config) Values() map[string]any {
	return valueOf(reflect.ValueOf(c)).(map[string]any)
}

func valueOf(value reflect.Value) any {
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			return nil
		}
		return valueOf(value.Elem())
	case reflect.Struct:
		fields := map[string]any{}
		for i := range value.NumField() {
			fields[fieldName(value.Type().Field(i))] = valueOf(value.Field(i))
		}
		return fields
	case reflect.Map:
		entries := map[string]any{}
		for _, key := range value.MapKeys() {
			entries[key.String()] = valueOf(value.MapIndex(key))
		}
		return entries
	case reflect.Slice:
		items := make([]any, value.Len())
		for i := range items {
			items[i] = valueOf(value.Index(i))
		}
		return items
	}
	if value.Type() == durationType {
		return time.Duration(value.Int()).String()
	}
	return value.Interface()
}
