package simulator

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// dialog is a user's progress from the auth link to the code. As with TrueLayer,
// there is no cookie: anyone who knows the id can continue the dialog. The
// simulator's mu guards it.
type dialog struct {
	id        string
	link      *authLink
	bank      *bank
	consented bool
	person    *person
	over      bool

	// What follows is for a link that led directly to the bank.
	atBank   bool
	consent  *AuthURIRequest // with which the application asked for the link
	renews   *connection     // if the user reauthenticates
	bankCode string          // the bank's own answer, once the user has agreed
	accounts []account       // that the user agreed to share
}

// The steps of a dialog. They are also the last elements of the pages' paths.
const (
	stepBank     = "bank"
	stepConsent  = "consent"
	stepLogin    = "login"
	stepAccounts = "accounts"
	stepCancel   = "cancel"
)

var (
	errTimedOut = errors.New("it has timed out; go back to the application and start again")
	errUsedLink = errors.New("its auth link was used before; go back to the application and start again, each login needs a link of its own")
)

// at returns the current step.
func (d *dialog) at() string {
	switch {
	case d.bank == nil:
		return stepBank
	case !d.consented:
		return stepConsent
	case d.person == nil:
		return stepLogin
	}
	return stepAccounts
}

// reached reports whether a step can be shown. It is the current step or, because
// of the back button, an earlier one.
func (d *dialog) reached(step string) bool {
	order := []string{stepBank, stepConsent, stepLogin, stepAccounts}
	if step == stepBank && d.link.bank != nil || step == stepConsent && d.atBank {
		return false
	}
	for _, s := range order {
		if s == step {
			return true
		}
		if s == d.at() {
			break
		}
	}
	return false
}

// open returns a copy of a dialog, so that pages are written without holding mu.
func (s *Simulator) open(id string) (dialog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.dialogs.get(id, s.clock())
	if !ok {
		return dialog{}, errTimedOut
	}
	if d.over {
		return dialog{}, errUsedLink
	}
	return *d, nil
}

// serveStep shows a step's page.
func (s *Simulator) serveStep(w http.ResponseWriter, r *http.Request) {
	d, err := s.open(r.URL.Query().Get("session_id"))
	if err != nil {
		errorPage(w, http.StatusBadRequest, "This login has stopped: "+err.Error()+".")
		return
	}
	step := r.PathValue("step")
	if !d.reached(step) {
		toStep(w, d.at(), d.id)
		return
	}
	s.stepPage(w, &d, step, "")
}

// takeStep handles the form of a step.
func (s *Simulator) takeStep(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	d, err := s.open(r.URL.Query().Get("session_id"))
	if err == nil {
		err = r.ParseForm()
	}
	if err != nil {
		errorPage(w, http.StatusBadRequest, "This login has stopped: "+err.Error()+".")
		return
	}
	step := r.PathValue("step")
	if step == stepCancel {
		if d.atBank {
			leaveBank(w, r, &d, bankDenied)
			return
		}
		s.cancel(w, &d)
		return
	}
	if !d.reached(step) {
		toStep(w, d.at(), d.id)
		return
	}
	switch step {
	case stepBank:
		s.takeBank(w, r, &d)
	case stepConsent:
		d.consented = true
		s.advance(w, &d)
	case stepLogin:
		s.takeLogin(w, r, &d)
	case stepAccounts:
		s.takeAccounts(w, r, &d)
	}
}

func (s *Simulator) takeBank(w http.ResponseWriter, r *http.Request, d *dialog) {
	for _, b := range offered(d.link.providers) {
		if b.ID == r.PostForm.Get("provider_id") {
			d.bank, d.consented, d.person = &b, false, nil
			s.advance(w, d)
			return
		}
	}
	s.stepPage(w, d, stepBank, "Please choose a bank from the list.")
}

func (s *Simulator) takeLogin(w http.ResponseWriter, r *http.Request, d *dialog) {
	user := r.PostForm.Get("username")
	p, refusal := signIn(user, r.PostForm.Get("password"))
	switch {
	case refusal == "":
		d.person = &p
		s.advance(w, d)
	case d.atBank && isBankFailure(user):
		leaveBank(w, r, d, bankFailed)
	default:
		s.stepPage(w, d, stepLogin, refusal)
	}
}

func (s *Simulator) takeAccounts(w http.ResponseWriter, r *http.Request, d *dialog) {
	accounts := chosen(accountsOf(*d.person, *d.bank), r.PostForm["account"])
	if len(accounts) == 0 {
		s.stepPage(w, d, stepAccounts, "Please choose at least one account.")
		return
	}
	if d.atBank {
		s.agreeAtBank(w, r, d, accounts)
		return
	}
	fields, err := s.complete(d, accounts)
	if err != nil {
		errorPage(w, http.StatusBadRequest, "This login has stopped: "+err.Error()+".")
		return
	}
	d.link.answer(w, fields)
}

// cancel sends the user back without a code. The auth link can be used again.
func (s *Simulator) cancel(w http.ResponseWriter, d *dialog) {
	s.mu.Lock()
	s.dialogs.drop(d.id)
	brings := s.settings.Cancelled
	s.mu.Unlock()
	fields := url.Values{}
	if brings != "nothing" {
		fields.Set("error", "access_denied")
	}
	if brings == "error" {
		fields.Set("error_description", "the user cancelled")
		if d.link.hasState {
			fields.Set("state", d.link.state)
		}
	}
	d.link.answer(w, fields)
}

// advance saves the changes of a step and redirects to the next one.
func (s *Simulator) advance(w http.ResponseWriter, d *dialog) {
	s.keep(d)
	toStep(w, d.at(), d.id)
}

// keep saves the changes of a dialog that is not over.
func (s *Simulator) keep(d *dialog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.dialogs.get(d.id, s.clock()); ok && !kept.over {
		*kept = *d
	}
}

// complete ends a dialog with a code and the connection it will open.
func (s *Simulator) complete(d *dialog, accounts []account) (url.Values, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if _, used := s.completed.get(d.link.digest, now); used {
		return nil, errUsedLink
	}
	s.completed.put(d.link.digest, struct{}{}, now, now.Add(completedLifetime))
	if kept, ok := s.dialogs.get(d.id, now); ok {
		kept.over = true
	}
	c := &connection{
		seed: [32]byte(randomBytes(32)), sessionID: d.id, client: d.link.client, scopes: d.link.scopes,
		bank: *d.bank, person: *d.person, accounts: accounts, consent: d.consent,
		began: now, ends: now.Add(s.settings.ConsentLifetime),
	}
	if d.renews != nil {
		s.renew(d.renews, c)
	}
	// The connection is kept after its consent ends, so that its tokens get 403
	// instead of 401, and so that the user can reauthenticate.
	s.connections.put(c.subject(), c, now, c.ends.Add(reauthPeriod))
	code := newHex(32)
	s.codes.put(code, &authorization{c, d.link.redirectURI, d.link.challenge}, now, now.Add(codeLifetime))
	s.record.secret(code)
	fields := url.Values{"code": {code}, "scope": {strings.Join(d.link.scopes, " ")}}
	if d.link.hasState {
		fields.Set("state", d.link.state)
	}
	return fields, nil
}

func toStep(w http.ResponseWriter, step, id string) {
	seeOther(w, "/dialog/"+step+"?"+url.Values{"session_id": {id}}.Encode())
}

func seeOther(w http.ResponseWriter, location string) {
	guardPage(w, "")
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}
