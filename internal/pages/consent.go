package pages

import (
	"bytes"
	_ "embed"
	"html/template"
	"slices"
	"strconv"
	"strings"
)

// Consent is the content of the page on which a visitor consents to what is shared.
type Consent struct {
	// Site is the host that asks, and Controller who gets the data. Bank is the bank's
	// name, and Logo the URL of its logo, or "".
	Site, Controller, Bank, Logo string
	Text                         ConsentText
	// Failure is why the visitor sees the page once more, the zero Text at first. Reason
	// and RequestID are those of a Page.
	Failure           Text
	Reason, RequestID string
	// Known is what TrueLayer is told about the visitor without a question, such as a
	// name. It may be empty.
	Known []string
	// Fields are what the visitor is asked for.
	Fields []Field
	// Post is the URL to which the form goes, and Token what it proves itself with.
	Post, Token string
	// OtherBank leads back to the choice of the bank, or is "".
	OtherBank string
	// Cancel leads to where a visitor goes who does not consent.
	Cancel string
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
func (p *Consent) Wrong() bool {
	return slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Problem != "" })
}

// DescribedBy returns the ids of the elements that describe a field.
func (p *Consent) DescribedBy(i int) string {
	var ids []string
	if p.Fields[i].Problem != "" {
		ids = append(ids, "problem"+strconv.Itoa(i))
	}
	if p.Fields[i].Help != "" {
		ids = append(ids, "help"+strconv.Itoa(i))
	}
	return strings.Join(ids, " ")
}

var (
	//go:embed consent.html
	consentText string

	consentLayout = template.Must(template.Must(layout.Clone()).New("consent").Parse(consentText))

	// consentPolicy does not limit where forms go: a browser would apply the limit to the
	// redirect to the bank, too, and nobody knows the banks' hosts.
	consentPolicy = policy + "; img-src 'self'; frame-ancestors 'none'"
)

// Draw returns the HTML of the page and its Content-Security-Policy.
func (p *Consent) Draw() (body []byte, contentPolicy string, err error) {
	var b bytes.Buffer
	if err := consentLayout.Execute(&b, p); err != nil {
		return nil, "", err
	}
	return b.Bytes(), consentPolicy, nil
}
