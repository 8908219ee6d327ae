package pages

import (
	"bytes"
	_ "embed"
	"html/template"
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
	Form
	// OtherBank leads back to the choice of the bank, or is "".
	OtherBank string
	// Cancel leads to where a visitor goes who does not consent.
	Cancel string
}

var (
	//go:embed consent.html
	consentText string

	consentLayout = template.Must(template.Must(formLayout.Clone()).New("consent").Parse(consentText))

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
