package truelayer

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// bankPicker is the site's own page on which visitors choose their bank.
type bankPicker struct {
	*failureResponder
	sessions *session.Manager
	choice   *bankChoice
	cookies  *cookieNames
	remember bool
}

const (
	// maxBankSearch is how many bytes of a search are looked at.
	maxBankSearch = 64
	// bankLogoPolicy is a Content-Security-Policy for logos. They are shown as images, which
	// run no scripts; somebody who opens one as a page gets nothing that runs either.
	bankLogoPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
)

// serve serves <redirect path>/banks: the page, and with ?logo=<id> a bank's logo.
func (p *bankPicker) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	if q.Method != http.MethodGet {
		return p.notAllowed(w, q, http.MethodGet)
	}
	query, _ := url.ParseQuery(q.query())
	if id := query.Get("logo"); id != "" {
		return p.serveLogo(w, q, id)
	}
	returnTo := p.addresses.returnTarget(query.Get("return"))
	s, err := p.sessions.Find(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	if err != nil && !session.IsRevoked(err) {
		return p.fail(w, q, failureOf(err))
	}
	if s != nil && !s.IsOver(q.now) && !p.sessions.HasNoToken(s, q.now) {
		p.seeOther(w, q, returnTo)
		return nil
	}
	offered, err := p.choice.offered(q.Context())
	if err != nil || len(offered) == 0 {
		p.seeOther(w, q, p.addresses.dialogURL(returnTo))
		return nil
	}
	page := p.page(offered, query, returnTo)
	page.Last = p.last(q, offered, returnTo)
	return p.banksPage(w, page)
}

// page returns the page with the banks that a visitor looks for.
func (p *bankPicker) page(offered []banks.Bank, query url.Values, returnTo string) *pages.Banks {
	search, country := query.Get("q"), query.Get("country")
	search = strings.TrimSpace(sanitize(search[:min(len(search), maxBankSearch)]))
	page := &pages.Banks{
		Text: pages.TextOf("banks"), Search: search, Address: p.addresses.banks, ReturnTo: returnTo,
		Other: p.addresses.dialogURL(returnTo), Home: p.home,
	}
	countries := countriesOf(offered)
	if len(countries) > 1 {
		page.Countries = []pages.Country{{Name: "All", Link: p.addresses.banksURL(returnTo, "", search), Chosen: country == ""}}
		for _, code := range countries {
			page.Countries = append(page.Countries, pages.Country{
				Name: pages.CountryName(code), Link: p.addresses.banksURL(returnTo, code, search), Chosen: code == country,
			})
		}
	}
	for _, code := range countries {
		group := pages.BankGroup{}
		if len(countries) > 1 {
			group.Name = pages.CountryName(code)
		}
		for _, b := range offered {
			if b.Country == code && (country == "" || country == code) && strings.Contains(strings.ToLower(b.Name), strings.ToLower(search)) {
				group.Banks = append(group.Banks, p.bank(b, returnTo))
			}
		}
		if len(group.Banks) > 0 {
			page.Groups = append(page.Groups, group)
		}
	}
	return page
}

// bank returns a bank as the page shows it. One that does not work is not offered.
func (p *bankPicker) bank(b banks.Bank, returnTo string) pages.Bank {
	shown := pages.Bank{Name: b.Name}
	if b.HasLogo {
		shown.Logo = p.addresses.banks + "?logo=" + b.ID
	}
	if b.Healthy {
		shown.Link = p.addresses.bankURL(b.ID, returnTo)
	}
	return shown
}

// countriesOf returns the countries of banks, sorted.
func countriesOf(offered []banks.Bank) (countries []string) {
	for _, b := range offered {
		if !slices.Contains(countries, b.Country) {
			countries = append(countries, b.Country)
		}
	}
	slices.Sort(countries)
	return countries
}

// last returns the bank that this browser connected last, if it is to be remembered and
// can be chosen.
func (p *bankPicker) last(q *request, offered []banks.Bank, returnTo string) *pages.Bank {
	if !p.remember {
		return nil
	}
	id := p.cookies.rememberedBank(q.cookies)
	for _, b := range offered {
		if b.ID == id && b.Healthy {
			shown := p.bank(b, returnTo)
			return &shown
		}
	}
	return nil
}

// serveLogo serves a bank's logo. The module has fetched it, so that the visitor's browser
// contacts nobody.
func (p *bankPicker) serveLogo(w http.ResponseWriter, q *request, id string) error {
	content, mediaType, err := p.choice.logos.Logo(q.Context(), id)
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", bankLogoPolicy)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err != nil {
		p.headers.writeHeader(w, http.StatusNotFound) // the page shows an empty place
		return nil
	}
	header.Set("Cache-Control", "private, max-age=86400")
	header.Set("Content-Type", mediaType)
	p.headers.writeHeader(w, http.StatusOK)
	_, _ = w.Write(content)
	return nil
}
