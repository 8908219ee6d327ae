package truelayer

import (
	"reflect"
	"strings"
	"testing"
)

// jsonFields are the names of a configuration type's fields.
func jsonFields[T any](t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for field := range reflect.TypeFor[T]().Fields() {
		if tag := field.Tag.Get("json"); tag != "" {
			name, _, _ := strings.Cut(tag, ",")
			names[name] = true
		}
	}
	return names
}
