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
	// Site is the host that asks. Bank is the bank's name, and Logo the URL of its logo,
	// or "".
	Site, Bank, Logo string
	Text             ConsentText
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
	// Type and Autocomplete are the attributes of a text.
	Type, Autocomplete string
	Required           bool
	Options            []Option
	// Value is what the visitor has entered, and Problem what is wrong with it, or "".
	Value, Problem string
}

// Option is one of the options of a Field.
type Option struct{ Value, Name string }

// firstWrong returns the index of the first field with a problem, -1 if there is none.
func (p *Consent) firstWrong() int {
	return slices.IndexFunc(p.Fields, func(f Field) bool { return f.Problem != "" })
}

// Wrong reports whether something is wrong with what the visitor has entered.
func (p *Consent) Wrong() bool { return p.firstWrong() >= 0 }

// Description says which elements describe a field, and whether it is the first with a
// problem, to which the browser goes.
type Description struct {
	Problem, IDs string
	First        bool
}

// Describe returns the description of a field.
func (p *Consent) Describe(i int) Description {
	f := &p.Fields[i]
	var ids []string
	if f.Help != "" {
		ids = append(ids, "help"+strconv.Itoa(i))
	}
	if f.Problem != "" {
		ids = append(ids, "problem"+strconv.Itoa(i))
	}
	return Description{f.Problem, strings.Join(ids, " "), i == p.firstWrong()}
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
