package authserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var errNotJSON = errors.New("the answer is not the JSON object that RFC 6749 section 5 describes")

// readObject splits a JSON object into its members. It refuses an object with two
// members of the same name. encoding/json would take the last one, and would
// match names in any case.
func readObject(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errNotJSON
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errNotJSON
		}
		name, _ := key.(string)
		if _, twice := members[name]; twice {
			return nil, errors.New("the answer has two members of the same name")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNotJSON
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errNotJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return members, nil
}

// readString returns a member that is a string, or "" if it is absent or null. The
// string must consist of visible ASCII characters (VSCHAR in RFC 6749 appendix
// A), which are safe in a header field. Only scope may have spaces.
func readString(members map[string]json.RawMessage, name string, limit int) (string, error) {
	raw, ok := members[name]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("the answer's %s is not a string", name)
	}
	if len(value) > limit {
		return "", fmt.Errorf("the answer's %s is longer than %d characters", name, limit)
	}
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7e || (c == ' ' && name != "scope") {
			return "", fmt.Errorf("the answer's %s has a character that RFC 6749 does not allow", name)
		}
	}
	return value, nil
}

// readNumber returns a number, or the number in a string.
func readNumber(raw json.RawMessage) (float64, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		raw = json.RawMessage(text)
	}
	var number *float64 // a pointer, since null would leave a float64 unchanged
	if json.Unmarshal(raw, &number) != nil || number == nil {
		return 0, false
	}
	return *number, true
}
