package truelayer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// consentPage is the site's own page on which visitors consent to what is shared. It sends
// them straight to their bank.
type consentPage struct {
	*failureResponder
	sessions   *session.Manager
	login      *loginFlow
	choice     *bankChoice
	forms      pageForms
	renewals   sealer                          // of addresses that renew a connection
	controller string                          // who gets the data
	texts      map[*pages.Language]consentText // in each language of the pages
	user       userPlaceholders
	links      *bankLinks
	// picks says that there is a page with the banks, and fallback that TrueLayer's dialog
	// is used if TrueLayer gives no link to the bank.
	picks, fallback bool
}

// serve serves <redirect path>/consent?provider=<id>&return=<path>. Only a POST of the
// page's own form gives consent.
func (c *consentPage) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	query := q.parameters()
	provider, returnTo := query.Get(providerParam), c.addresses.returnTarget(query.Get("return"))
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		switch {
		case query.Has(declineParam):
			return c.decline(w, q, returnTo)
		case c.addresses.isOtherHost(q.Host) && !query.Has(movedParam): // the form would not work here
			c.seeOther(w, q, c.addresses.origin+c.addresses.consentURL(provider, returnTo, query.Get(renewsParam))+"&"+movedParam+"=1")
			return nil
		}
		return c.withBank(w, q, provider, returnTo, func(bank banks.Bank, _ string) error {
			return c.show(w, q, &bank, returnTo, c.user.answersOf(q.replacer, &bank, nil), failure{})
		})
	case http.MethodPost:
		return c.agree(w, q, provider, returnTo)
	}
	return c.notAllowed(w, q, "GET, HEAD, POST")
}

// decline answers who does not consent. Who is connected already stays so.
func (c *consentPage) decline(w http.ResponseWriter, q *request, returnTo string) error {
	if _, connected, err := findConnected(q, c.sessions); connected && err == nil {
		c.seeOther(w, q, returnTo)
		return nil
	}
	c.note(q, failure{reason: accessDenied, cause: errNoConsent})
	return c.draw(w, q, http.StatusOK, &pages.Message{Key: "consent_declined", Link: c.addresses.loginURL(returnTo), Home: c.home})
}

// withBank continues with the bank with an id, and with the id of the session that is being
// renewed, or "". Otherwise who is connected already goes to the return target. A bank that
// cannot be reached from here is reached by TrueLayer's dialog.
func (c *consentPage) withBank(w http.ResponseWriter, q *request, provider, returnTo string, next func(bank banks.Bank, renews string) error) error {
	s, connected, err := findConnected(q, c.sessions)
	if err != nil {
		failed := failureOf(err)
		failed.returnTo = returnTo
		return c.fail(w, q, failed)
	}
	renews := ""
	if connected {
		if renews = c.renews(q, s, provider); renews == "" {
			c.seeOther(w, q, returnTo)
			return nil
		}
	}
	bank, ok := c.choice.find(q.Context(), provider)
	if !ok {
		c.seeOther(w, q, c.addresses.dialogURL(returnTo))
		return nil
	}
	return next(bank, renews)
}

// renewalURL returns the path and query of the page on which a visitor consents to a session's
// renewal. Nobody else can make it up: a link of another site must not begin one.
func (c *consentPage) renewalURL(s *session.Session, returnTo string) string {
	return c.addresses.consentURL(s.Provider, returnTo, c.renewals.seal([]byte(s.Provider), s.ID()))
}

// renews returns the id of the session if the page's address is that of its renewal at this
// bank, and else "".
func (c *consentPage) renews(q *request, s *session.Session, provider string) string {
	if sealed, ok := c.renewals.open(q.parameters().Get(renewsParam), s.ID()); ok && string(sealed) == provider {
		return s.ID()
	}
	return ""
}

// show writes the page. After a failure it says so, and has what the visitor has entered.
func (c *consentPage) show(w http.ResponseWriter, q *request, bank *banks.Bank, returnTo string, a answers, f failure) error {
	page := &pages.Consent{
		Controller: c.controller, Bank: bank.Name, Text: c.text(q).ConsentText, Known: strings.Join(a.known, ", "),
		Form:   pages.Form{Post: c.addresses.consentURL(bank.ID, returnTo, q.parameters().Get(renewsParam)), Token: c.forms.issue(w, q, bank.ID, c.shown(q)), Fields: a.fields},
		Cancel: c.addresses.declineURL(returnTo),
	}
	status := http.StatusOK
	switch {
	case f.reason != "":
		status = problems[f.reason].status
		page.Failure, page.Support = string(f.reason), support(q, f)
	case !a.areComplete():
		status = http.StatusUnprocessableEntity
	}
	if c.picks {
		if !q.parameters().Has(renewsParam) { // a connection is renewed at its bank
			page.OtherBank = c.addresses.banksURL(returnTo, "", "")
		}
		if bank.HasLogo {
			page.Logo = c.addresses.logoURL(bank.ID)
		}
	}
	prepareFormPage(w)
	return c.draw(w, q, status, page)
}

// text is the text in the visitor's language.
func (c *consentPage) text(q *request) consentText { return c.texts[c.language(q)] }

// shown is the digest of what the page says: the text, and who the visitor is.
func (c *consentPage) shown(q *request) string {
	known := c.user.answersOf(q.replacer, new(banks.Bank), nil).known
	digest := sha256.Sum256([]byte(c.text(q).digest + "\x00" + strings.Join(known, "\x00")))
	return hex.EncodeToString(digest[:])
}

var (
	errNoConsentForm = errors.New("the form has no token of this browser, or an old one")
	errOtherText     = errors.New("the text, or who the visitor is, has changed since the page was shown")
	errNoConsent     = errors.New("the visitor did not consent on the site's own page")
)

// agree takes the page's form, and sends the visitor to the bank. The form's address has
// the bank and the return target, too, for a form that cannot be used.
func (c *consentPage) agree(w http.ResponseWriter, q *request, provider, returnTo string) error {
	entered, err := takeForm(w, q)
	if !c.origins.isOwn(q.Request) {
		failed := failure{reason: foreignForm, received: originOf(q.Request), returnTo: returnTo}
		if c.fallback {
			failed.loginURL = c.addresses.origin + c.addresses.dialogURL(returnTo)
		}
		return c.fail(w, q, failed)
	}
	if err != nil {
		return c.fail(w, q, failure{reason: consentFormExpired, cause: err, returnTo: returnTo})
	}
	form, ok := c.forms.open(q, entered.Get("token"))
	if !ok {
		return c.failAgain(w, q, provider, entered, failure{reason: consentFormExpired, cause: errNoConsentForm, returnTo: returnTo})
	}
	if form.digest != c.shown(q) {
		return c.failAgain(w, q, form.subject, entered, failure{reason: consentFormExpired, cause: errOtherText, returnTo: returnTo})
	}
	return c.withBank(w, q, form.subject, returnTo, func(bank banks.Bank, renews string) error {
		a := c.user.answersOf(q.replacer, &bank, entered)
		if !a.areComplete() {
			return c.show(w, q, &bank, returnTo, a, failure{})
		}
		l := c.login.newLogin(q.now, returnTo, bank.ID, c.links.scopes)
		l.renews = renews
		return c.goToBank(w, q, form.id, &bank, *l, entered, a)
	})
}

// failAgain answers a form that led nowhere: with the page, on which nothing is lost that
// was entered, or as every other failure if a person would not see it.
func (c *consentPage) failAgain(w http.ResponseWriter, q *request, provider string, entered url.Values, f failure) error {
	if c.returnsErrors(f) || q.whoAsks() != form {
		return c.fail(w, q, f)
	}
	return c.withBank(w, q, provider, f.returnTo, func(bank banks.Bank, _ string) error {
		c.note(q, f)
		c.announce(w, q, f)
		return c.show(w, q, &bank, f.returnTo, c.user.answersOf(q.replacer, &bank, entered), f)
	})
}

// goToBank begins a login with a link that leads straight to the bank.
func (c *consentPage) goToBank(w http.ResponseWriter, q *request, formID string, bank *banks.Bank, l login, entered url.Values, a answers) error {
	// a form that was corrected is another one
	digest := sha256.Sum256([]byte(entered.Encode()))
	link, err := c.links.get(q.withCause(), formID+string(digest[:]), clientNetwork(q.Request), consent{
		login: l, answers: a, text: c.text(q),
	})
	if q.isGone() {
		return nil // the browser has gone, or sends the form again
	}
	if err != nil {
		failed := bankLinkFailure(err)
		failed.returnTo = l.returnTo
		if !c.fallback {
			return c.failAgain(w, q, bank.ID, entered, failed)
		}
		c.note(q, failed)
		return c.login.follow(w, q, &l)
	}
	c.login.begin(w, q, &link.login)
	c.seeOther(w, q, link.url)
	return nil
}
