package pages

// Consent is the content of the page on which a visitor consents to what is shared.
type Consent struct {
	// Controller is who gets the data. Bank is the bank's name, and Logo the URL of its
	// logo, or "".
	Controller, Bank, Logo string
	Text                   ConsentText
	// Failure names the text that says why the visitor sees the page once more. It is ""
	// at first.
	Failure string
	Support
	// Known is what TrueLayer is told about the visitor without a question, such as a
	// name. It may be "".
	Known string
	Form
	// OtherBank leads back to the choice of the bank, or is "".
	OtherBank string
	// Cancel leads to where a visitor goes who does not consent.
	Cancel string
}

func (p *Consent) template() string { return "consent" }

// policy does not limit where forms go: a browser would apply the limit to the redirect to
// the bank, too, and nobody knows the banks' hosts.
func (p *Consent) policy() string { return notFramed }

// Heading is the page's heading.
func (p *Consent) Heading() Words { return Words{"consent_heading", []any{p.Bank}} }
