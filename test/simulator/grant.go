package simulator

import (
	"errors"
	"fmt"
	"net/url"
)

// Grant completes the dialog of an auth link without HTTP, and returns the URL to
// which the browser would be sent. The user john of Mock, or of the bank that
// provider_id names, agrees to everything. Grant is for benchmarks, which would
// otherwise measure the dialog's pages. For a link with response_mode=form_post,
// the URL's query has the fields, and the caller posts them as a form.
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

// GrantDirect does at the bank what Grant does in the dialog: it follows a direct
// bank link or a reauthentication link without HTTP, and returns the URL to which
// the browser would be sent in the end. The user is john, or after a request for
// reauthentication the one who connected before.
func (s *Simulator) GrantDirect(bankLink string) (callbackURL string, err error) {
	u, err := url.Parse(bankLink)
	if err != nil {
		return "", fmt.Errorf("parse the bank link: %w", err)
	}
	d, err := s.enterBank(u.Query().Get("state"))
	if err != nil {
		return "", err
	}
	p, refusal := signIn("john", "doe")
	if refusal != "" {
		return "", errors.New(refusal)
	}
	if d.renews != nil {
		p = d.renews.person
	}
	d.person = &p
	fields, err := s.complete(&d, accountsOf(p, *d.bank))
	if err != nil {
		return "", err
	}
	return d.link.back(fields), nil
}
