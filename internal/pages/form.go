package pages

import (
	"bytes"
	_ "embed"
	"html/template"
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
	// Name is that of the field in the form, and Label what the page calls it.
	Name, Label, Help string
	// Type, Autocomplete and Autocapitalize are the attributes of a text.
	Type, Autocomplete, Autocapitalize string
	Required                           bool
	Options                            []Option
	// Value is what the visitor has entered, and Problem what is wrong with it, or "".
	Value, Problem string
}

// Option is one of the options of a Field.
type Option struct{ Value, Name string }

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
	Text
	// Site is the host that asks.
	Site string
	Form
	// Back leads to where the visitor was going, and SignOut to where one signs out, or is
	// "".
	Back, SignOut string
}

var (
	//go:embed form.html
	formText string
	//go:embed name.html
	nameText string

	// formLayout has what pages with a form share.
	formLayout = template.Must(template.Must(layout.Clone()).New("form").Parse(formText))
	nameLayout = template.Must(template.Must(formLayout.Clone()).New("name").Parse(nameText))

	namePolicy = policy + "; form-action 'self'; frame-ancestors 'none'"
)

// Draw returns the HTML of the page and its Content-Security-Policy.
func (p *Name) Draw() (body []byte, contentPolicy string, err error) {
	var b bytes.Buffer
	if err := nameLayout.Execute(&b, p); err != nil {
		return nil, "", err
	}
	return b.Bytes(), namePolicy, nil
}
