package pages

import (
	"slices"
	"strconv"
	"strings"
)

// Form is a form that visitors fill in.
type Form struct {
	// Post is the URL to which the form goes, and Token what it proves itself with.
	Post, Token string
	// Fields are what the visitor is asked for.
	Fields []Field
}

// Field is a field of the form: a text, or a choice if it has Options.
type Field struct {
	// Name is that of the field in the form. The page calls it by the text that Key names,
	// or, if Key is "", by the Label, which is the bank's.
	Name, Key, Label, Help string
	// Type, Autocomplete and Autocapitalize are the attributes of a text.
	Type, Autocomplete, Autocapitalize string
	Required                           bool
	Options                            []Option
	// Value is what the visitor has entered, and Problem names the text that says what is
	// wrong with it, or is "".
	Value, Problem string
}

// Option is one of the options of a Field.
type Option struct{ Value, Name string }

// LabelOf returns what the page calls a field.
func (l *Language) LabelOf(f Field) string {
	if f.Key != "" {
		return l.Say(f.Key)
	}
	return f.Label
}

// Wrong reports whether something is wrong with what the visitor has entered.
func (f *Form) Wrong() bool {
	return slices.ContainsFunc(f.Fields, func(field Field) bool { return field.Problem != "" })
}

// DescribedBy returns the ids of the elements that describe a field.
func (f *Form) DescribedBy(i int) string {
	var ids []string
	if f.Fields[i].Problem != "" {
		ids = append(ids, "problem"+strconv.Itoa(i))
	}
	if f.Fields[i].Help != "" {
		ids = append(ids, "help"+strconv.Itoa(i))
	}
	return strings.Join(ids, " ")
}

// Name is the content of the page on which a visitor says their name.
type Name struct {
	Form
	// Back leads to where the visitor was going, and SignOut to where one signs out, or is
	// "".
	Back, SignOut string
}

func (p *Name) template() string { return "name" }

func (p *Name) policy() string { return "; form-action 'self'" + notFramed }
