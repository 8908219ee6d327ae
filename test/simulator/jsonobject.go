package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// members returns the members of a JSON object. A member that is not among the
// names is an error, unless names is nil. Unlike encoding/json, members also
// refuses a name that comes twice or in another case, and anything that follows the
// object. With an error it returns what came before.
func members(body []byte, names []string) (map[string]json.RawMessage, error) {
	found := make(map[string]json.RawMessage)
	if !utf8.Valid(body) {
		return found, errors.New("send JSON in UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return found, errors.New("send a JSON object")
	}
	for decoder.More() {
		t, _ := decoder.Token()
		var value json.RawMessage
		name, ok := t.(string)
		if !ok || decoder.Decode(&value) != nil {
			return found, errors.New("send well-formed JSON")
		}
		if _, twice := found[name]; twice {
			return found, fmt.Errorf("%s: send it once", name)
		}
		if names != nil && !slices.Contains(names, name) {
			return found, fmt.Errorf("%s: leave it out; send only %s", name, strings.Join(names, ", "))
		}
		found[name] = value
	}
	if t, err := decoder.Token(); err != nil || t != json.Delim('}') {
		return found, errors.New("send well-formed JSON")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return found, errors.New("send one JSON object and nothing after it")
	}
	return found, nil
}

// readObject decodes the members of a JSON object into the targets with their
// names. Unless open is set, there must be no other members. A string that is there
// must not be empty, and nothing may be null. After an error, the targets have what
// could be read.
func readObject(body []byte, targets map[string]any, open bool) error {
	names := slices.Sorted(maps.Keys(targets))
	allowed := names
	if open {
		allowed = nil
	}
	found, err := members(body, allowed)
	for _, name := range names {
		value, sent := found[name]
		if !sent {
			continue
		}
		if wrong := readMember(name, value, targets[name]); err == nil {
			err = wrong
		}
	}
	return err
}

func readMember(name string, value json.RawMessage, target any) error {
	err := json.Unmarshal(value, target)
	text, isText := target.(*string)
	switch {
	case isText && (err != nil || string(value) == "null"):
		return fmt.Errorf("%s: send a string, or leave it out", name)
	case isText && *text == "":
		return fmt.Errorf("%s: give it a value, or leave it out", name)
	case string(value) == "null":
		return fmt.Errorf("%s: leave it out instead of sending null", name)
	case errors.As(err, new(*json.UnmarshalTypeError)):
		return fmt.Errorf("%s: send it in the form of the API description", name)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
