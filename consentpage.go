package truelayer

import (
	"errors"
	"net/http"
	"net/url"

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
	controller string // who gets the data
	text       pages.ConsentText
	digest     string // of the text
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
	query, _ := url.ParseQuery(q.query())
	provider, returnTo := query.Get(providerParam), c.addresses.returnTarget(query.Get("return"))
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		if query.Has(declineParam) {
			return c.decline(w, q, returnTo)
		}
		return c.withBank(w, q, provider, returnTo, func(bank banks.Bank) error {
			return c.show(w, q, &bank, returnTo, c.user.answersOf(q.replacer, &bank, nil), failure{})
		})
	case http.MethodPost:
		return c.agree(w, q, provider, returnTo)
	}
	return c.notAllowed(w, q, "GET, HEAD, POST")
}

// decline answers who does not consent.
func (c *consentPage) decline(w http.ResponseWriter, q *request, returnTo string) error {
	c.note(q, failure{reason: accessDenied, cause: errNoConsent})
	return c.page(w, http.StatusOK, pages.Page{Text: pages.TextOf("consent_declined"), Link: c.addresses.loginURL(returnTo), Home: c.home})
}

// withBank continues with the bank with an id. Who is connected already goes to the return
// target, and a bank that cannot be reached from here is reached by TrueLayer's dialog.
func (c *consentPage) withBank(w http.ResponseWriter, q *request, provider, returnTo string, next func(banks.Bank) error) error {
	connected, err := isConnected(q, c.sessions)
	if err != nil {
		return c.fail(w, q, failureOf(err))
	}
	if connected {
		c.seeOther(w, q, returnTo)
		return nil
	}
	bank, ok := c.choice.find(q.Context(), provider)
	if !ok {
		c.seeOther(w, q, c.addresses.dialogURL(returnTo))
		return nil
	}
	return next(bank)
}

// show writes the page. After a failure it says so, and has what the visitor has entered.
func (c *consentPage) show(w http.ResponseWriter, q *request, bank *banks.Bank, returnTo string, a answers, f failure) error {
	page := &pages.Consent{
		Site: c.addresses.host, Controller: c.controller, Bank: bank.Name, Text: c.text, Known: a.known,
		Form:   pages.Form{Post: c.addresses.consentURL(bank.ID, returnTo), Token: c.forms.issue(w, q, bank.ID, c.digest), Fields: a.fields},
		Cancel: c.addresses.declineURL(returnTo),
	}
	status := http.StatusOK
	switch {
	case f.reason != "":
		status = problems[f.reason].status
		page.Failure, page.Reason, page.RequestID = f.reason.text(), string(f.reason), q.id()
	case !a.areComplete():
		status = http.StatusUnprocessableEntity
	}
	if c.picks {
		page.OtherBank = c.addresses.banksURL(returnTo, "", "")
		if bank.HasLogo {
			page.Logo = c.addresses.logoURL(bank.ID)
		}
	}
	// with no-referrer, older browsers would post the form with "Origin: null"
	w.Header().Set("Referrer-Policy", "same-origin")
	return c.consentPage(w, status, page)
}

// maxConsentBody bounds the body of the form.
const maxConsentBody = 32 << 10

var (
	errNoConsentForm = errors.New("the form has no token of this browser, or an old one")
	errOtherText     = errors.New("the text has changed since the page was shown")
	errNoBodyOfAForm = errors.New("the body is not that of a form, or is too large")
	errNoConsent     = errors.New("the visitor did not consent on the site's own page")
	errNotOwnOrigin  = errors.New("only the page itself, on the redirect URI's origin, may give consent")
)

// agree takes the page's form, and sends the visitor to the bank. The form's address has
// the bank and the return target, too, for a form that cannot be used.
func (c *consentPage) agree(w http.ResponseWriter, q *request, provider, returnTo string) error {
	if !c.origins.isOwn(q.Request) {
		return c.fail(w, q, failure{reason: crossSite, cause: errNotOwnOrigin, received: originOf(q.Request), returnTo: returnTo})
	}
	q.Body = http.MaxBytesReader(w, q.Body, maxConsentBody)
	if err := q.ParseForm(); err != nil {
		return c.fail(w, q, failure{reason: consentFormExpired, cause: errNoBodyOfAForm, returnTo: returnTo})
	}
	form, ok := c.forms.open(q, q.PostForm.Get("token"))
	if !ok {
		return c.failAgain(w, q, provider, failure{reason: consentFormExpired, cause: errNoConsentForm, returnTo: returnTo})
	}
	if form.digest != c.digest {
		return c.failAgain(w, q, form.subject, failure{reason: consentFormExpired, cause: errOtherText, returnTo: returnTo})
	}
	return c.withBank(w, q, form.subject, returnTo, func(bank banks.Bank) error {
		a := c.user.answersOf(q.replacer, &bank, q.PostForm)
		if !a.areComplete() {
			return c.show(w, q, &bank, returnTo, a, failure{})
		}
		return c.goToBank(w, q, form.id, &bank, returnTo, a)
	})
}

// failAgain answers a form that led nowhere: with the page, on which nothing is lost that
// was entered, or as every other failure if a person would not see it.
func (c *consentPage) failAgain(w http.ResponseWriter, q *request, provider string, f failure) error {
	if c.returnsErrors(f) || q.whoAsks() != form {
		return c.fail(w, q, f)
	}
	return c.withBank(w, q, provider, f.returnTo, func(bank banks.Bank) error {
		c.note(q, f)
		c.announce(w, q, f)
		return c.show(w, q, &bank, f.returnTo, c.user.answersOf(q.replacer, &bank, q.PostForm), f)
	})
}

// goToBank begins a login with a link that leads straight to the bank.
func (c *consentPage) goToBank(w http.ResponseWriter, q *request, formID string, bank *banks.Bank, returnTo string, a answers) error {
	link, err := c.links.get(q.withCause(), formID, clientNetwork(q.Request), consent{
		login: *c.login.newLogin(q.now, returnTo, bank.ID), answers: a, text: &c.text, digest: c.digest,
	})
	if q.isGone() {
		return nil // the browser has gone, or sends the form again
	}
	if err != nil {
		failed := bankLinkFailure(err)
		failed.returnTo = returnTo
		if !c.fallback {
			return c.failAgain(w, q, bank.ID, failed)
		}
		c.note(q, failed)
		return c.login.start(w, q, returnTo, bank.ID)
	}
	c.login.begin(w, q, &link.login)
	c.seeOther(w, q, link.url)
	return nil
}
