package truelayer

import (
	"cmp"
	"errors"
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
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return p.notAllowed(w, q, "GET, HEAD")
	}
	query, _ := url.ParseQuery(q.query())
	if id := query.Get("logo"); id != "" {
		return p.serveLogo(w, q, id)
	}
	noStore(w)
	returnTo := p.addresses.returnTarget(query.Get("return"))
	_, connected, err := findConnected(q, p.sessions)
	if err != nil {
		return p.fail(w, q, failureOf(err))
	}
	if connected {
		p.seeOther(w, q, returnTo)
		return nil
	}
	if !p.remember {
		p.cookies.forgetBank(w, q.cookies) // from an earlier configuration
	}
	offered, err := p.choice.offered(q.Context())
	if err == nil && len(offered) > 0 {
		page := p.page(p.language(q), offered, query, returnTo)
		page.Last = p.last(q, offered, page.ReturnTo)
		return p.draw(w, q, http.StatusOK, page)
	}
	if query.Has("q") {
		// a browser does not follow a form's redirect to a host that the page's
		// form-action does not name
		return p.draw(w, q, http.StatusOK, &pages.Banks{Other: p.addresses.dialogURL(returnTo), Home: p.home})
	}
	p.seeOther(w, q, p.addresses.dialogURL(returnTo))
	return nil
}

// maxReturnBytes bounds the bytes of all copies of the return target on the page. Each bank's
// link has one, and anybody can ask for a long one.
const maxReturnBytes = 128 << 10

// page returns the page with the banks that are offered. Those that the visitor does not
// look for are hidden.
func (p *bankPicker) page(l *pages.Language, offered []banks.Bank, query url.Values, returnTo string) *pages.Banks {
	for returnTo != "/" && len(url.QueryEscape(returnTo))*len(offered) > maxReturnBytes {
		returnTo = shorten(returnTo)
	}
	search := query.Get("q")
	search = strings.TrimSpace(sanitize(search[:min(len(search), maxBankSearch)]))
	countries := countriesOf(l, offered)
	country := query.Get("country")
	if !slices.Contains(countries, country) {
		country = ""
	}
	page := &pages.Banks{
		Search: search, Country: country, Address: p.addresses.banks, ReturnTo: returnTo,
		Other: p.addresses.dialogURL(returnTo), Home: p.home,
	}
	if len(countries) > 1 {
		page.Countries = []pages.Country{{Name: l.Say("all_countries"), Link: p.addresses.banksURL(returnTo, "", search), Chosen: country == ""}}
	}
	wanted := pages.Fold(search)
	for _, code := range countries {
		group := pages.BankGroup{Country: code}
		if len(countries) > 1 {
			group.Name = l.Country(code)
			page.Countries = append(page.Countries, pages.Country{Name: group.Name, Link: p.addresses.banksURL(returnTo, code, search), Chosen: code == country})
		}
		here := wanted != "" || country == "" || country == code
		for _, b := range offered {
			if b.Country == code {
				shown := p.bank(b, returnTo)
				shown.Hidden = !here || !strings.Contains(shown.Key, wanted)
				group.Banks = append(group.Banks, shown)
			}
		}
		slices.SortStableFunc(group.Banks, func(a, b pages.Bank) int { return cmp.Compare(a.Key, b.Key) })
		page.Groups = append(page.Groups, group)
	}
	return page
}

// bank returns a bank as the page shows it. One that does not work is not offered.
func (p *bankPicker) bank(b banks.Bank, returnTo string) pages.Bank {
	shown := pages.Bank{Name: b.Name, Key: pages.Fold(b.Name)}
	if b.HasLogo {
		shown.Logo = p.addresses.logoURL(b.ID)
	}
	if b.Healthy {
		shown.Link = p.addresses.bankURL(b.ID, returnTo)
	}
	return shown
}

// countriesOf returns the countries of banks, sorted by their names.
func countriesOf(l *pages.Language, offered []banks.Bank) (countries []string) {
	for _, b := range offered {
		if !slices.Contains(countries, b.Country) {
			countries = append(countries, b.Country)
		}
	}
	slices.SortFunc(countries, func(a, b string) int { return cmp.Compare(pages.Fold(l.Country(a)), pages.Fold(l.Country(b))) })
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

// noLogo is shown in place of a logo that cannot be had: browsers would show a broken
// picture.
const noLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#8a94a3"/><path d="M16 7l9 5v2H7v-2zM9 16h2v6H9zm6 0h2v6h-2zm6 0h2v6h-2zM7 23h18v2H7z" fill="#fff"/></svg>`

// serveLogo serves a bank's logo. The module has fetched it, so that the visitor's browser
// contacts nobody.
func (p *bankPicker) serveLogo(w http.ResponseWriter, q *request, id string) error {
	content, mediaType, err := p.choice.logos.Logo(q.Context(), id)
	header, status := w.Header(), http.StatusOK
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", bankLogoPolicy)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "private, max-age=86400")
	if err != nil {
		content, mediaType = []byte(noLogo), "image/svg+xml"
		header.Set("Cache-Control", "no-store")
		if errors.Is(err, banks.ErrUnknownBank) {
			status = http.StatusNotFound
		}
	}
	header.Set("Content-Type", mediaType)
	p.headers.writeHeader(w, status)
	_, _ = w.Write(content)
	return nil
}
