package tlapi

import (
	"encoding/json"
	"slices"
	"strings"
)

// Step is a field that a visitor has to fill in before the bank's own login. It is a
// choice if it has Values, and otherwise text. The texts are as TrueLayer sent them.
type Step struct {
	ID       string
	Name     string
	HelpText string
	// Mandatory is false only if TrueLayer says so.
	Mandatory bool
	// Sensitive says that the field may be for a secret, such as a password. Each step
	// that is not understood counts as sensitive.
	Sensitive bool
	// Values are the values to choose from. Nil means that the visitor enters text.
	Values []Value
}

// Value is one of the values that a Step lets visitors choose from.
type Value struct {
	Value string
	Name  string
}

const (
	// maxSteps is how many steps of a provider are read. More of them count as one that
	// is not understood.
	maxSteps = 50
	// maxValues is the longest choice to accept.
	maxValues = 1000
)

// unknownStep stands for what is not understood: it may be for a password.
var unknownStep = Step{Mandatory: true, Sensitive: true}

// readSteps reads a provider's steps. TrueLayer's schema says that a step is a field,
// and its example has steps with a list of fields each. Both are read. A provider
// without the member has no steps.
func readSteps(raw json.RawMessage) (steps []Step) {
	if raw == nil || string(raw) == "null" {
		return nil
	}
	var entries []json.RawMessage
	if json.Unmarshal(raw, &entries) != nil {
		return []Step{unknownStep}
	}
	for _, entry := range entries {
		for _, field := range fieldsOf(entry) {
			if len(steps) == maxSteps {
				return append(steps, unknownStep)
			}
			steps = append(steps, readField(field))
		}
	}
	return steps
}

// fieldsOf returns the fields of a step in the nested form, and a step in the flat form
// as its only field. What is both, or neither, is returned as it is, which readField
// does not understand.
func fieldsOf(entry json.RawMessage) (fields []json.RawMessage) {
	var members map[string]json.RawMessage
	if json.Unmarshal(entry, &members) != nil || members["fields"] == nil || members["type"] != nil || members["id"] != nil {
		return []json.RawMessage{entry}
	}
	if json.Unmarshal(members["fields"], &fields) != nil || string(members["fields"]) == "null" {
		return []json.RawMessage{entry}
	}
	return fields
}

// readField reads one field. It is a choice, or known not to be sensitive, only if all
// that says so has the form that the schema asks for.
func readField(raw json.RawMessage) Step {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members["fields"] != nil {
		return unknownStep
	}
	s := Step{
		ID: text(members["id"]), Name: text(members["display_name"]), HelpText: text(members["help_text"]),
		Mandatory: string(members["mandatory"]) != "false",
		Sensitive: true,
	}
	switch kind := kindOf(text(members["type"])); {
	case s.ID == "":
		return unknownStep
	case strings.HasPrefix(kind, "singlechoice") && absent(members["validations"]) && absent(members["allowed_characters"]):
		if s.Values = readValues(members["values"]); s.Values != nil {
			s.Sensitive = !absent(members["is_sensitive"])
		}
	case strings.HasPrefix(kind, "free") && absent(members["values"]):
		s.Sensitive = string(members["is_sensitive"]) != "false"
	}
	return s
}

// kindOf returns a field's type without what its spellings differ in: the schema speaks
// of a "Single Choice Input", and the example has "SingleChoiceField".
func kindOf(kind string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(kind))
}

// absent reports whether a member is missing, or says that there is nothing.
func absent(member json.RawMessage) bool {
	return member == nil || slices.Contains([]string{"null", "false", "[]", `""`}, string(member))
}

// readValues reads the values of a choice. It returns nil unless each of them is
// understood, since a choice without the right one is of no use.
func readValues(raw json.RawMessage) []Value {
	var entries []map[string]json.RawMessage
	if json.Unmarshal(raw, &entries) != nil || len(entries) == 0 || len(entries) > maxValues {
		return nil
	}
	values := make([]Value, 0, len(entries))
	for _, entry := range entries {
		v := Value{Value: text(entry["value"]), Name: text(entry["display_name"])}
		if v.Value == "" {
			return nil
		}
		if v.Name == "" {
			v.Name = v.Value
		}
		values = append(values, v)
	}
	return values
}

// text returns a member that is a string, and "" for everything else.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
