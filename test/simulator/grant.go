package simulator

import (
	"errors"
	"fmt"
	"net/url"
)

// Grant walks an auth link's dialog without HTTP and returns what the browser
// would be sent to: john of Mock, or of the bank that provider_id names, agrees
// to everything. It is for measurements, which would otherwise measure the
// dialog's pages. A link with response_mode=form_post gets its fields in the
// query; whoever asked for it posts them as a form.
func (s *Simulator) Grant(authLink string) (callbackURL string, err error) {
	u, err := url.Parse(authLink)
	if err != nil {
		return "", fmt.Errorf("parse the auth link: %w", err)
	}
	link, err := s.parseAuthLink(u.RawQuery)
	if err != nil {
		return "", err
	}
	if link.bank == nil {
		link.bank = &mock
	}
	p, refusal := signIn("john", "doe")
	if refusal != "" {
		return "", errors.New(refusal)
	}
	d := &dialog{id: newSessionID(), link: link, bank: link.bank, person: &p}
	fields, err := s.complete(d, accountsOf(p, *d.bank))
	if err != nil {
		return "", err
	}
	return link.back(fields), nil
}
