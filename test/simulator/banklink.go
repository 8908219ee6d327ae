package simulator

import (
	"errors"
	"net/http"
	"net/url"
)

// hybridCallback is where the auth server waits for the answer of a bank.
const hybridCallback = "/oauth/hybrid/callback"

// The errors that a bank sends to the auth server.
const (
	bankDenied = "access_denied"
	bankFailed = "server_error"
)

// isBankFailure reports whether the bank itself fails when the user logs in.
func isBankFailure(user string) bool {
	return user == "error.internal_error" || user == "error.provider_error"
}

var errUsedBankLink = errors.New("its link to the bank was used before or has timed out; go back to the application and start again")

// authURIResponse is the answer with a link to a bank.
type authURIResponse struct {
	Result  string `json:"result"`
	Success bool   `json:"success"`
}

// giveBankLink answers with a link to the bank of a dialog that has only its link
// yet. The bank is at the simulator's own address.
func (s *Simulator) giveBankLink(w http.ResponseWriter, r *http.Request, d *dialog) {
	d.id, d.bank, d.consented, d.atBank = newSessionID(), d.link.bank, true, true
	s.mu.Lock()
	now := s.clock()
	s.bankLinks.put(d.id, d, now, now.Add(bankLinkLifetime))
	s.mu.Unlock()
	query := url.Values{
		"client_id": {"simulated-truelayer"}, "response_type": {"code id_token"}, "scope": {"openid"},
		"state": {d.id}, "nonce": {newHex(16)}, "redirect_uri": {address(r) + hybridCallback},
	}
	writeJSON(w, http.StatusOK, authURIResponse{address(r) + "/bank/" + d.bank.ID + "/authorize?" + query.Encode(), true})
}

// enterBank turns a bank link, which works once, into a dialog.
func (s *Simulator) enterBank(id string) (dialog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	d, ok := s.bankLinks.get(id, now)
	if !ok {
		return dialog{}, errUsedBankLink
	}
	s.bankLinks.drop(id)
	s.dialogs.put(id, d, now, now.Add(dialogLifetime))
	return *d, nil
}

// serveBankLink shows the bank's login.
func (s *Simulator) serveBankLink(w http.ResponseWriter, r *http.Request) {
	d, err := s.enterBank(r.URL.Query().Get("state"))
	if err != nil {
		errorPage(w, http.StatusBadRequest, "This login has stopped: "+err.Error()+".")
		return
	}
	toStep(w, d.at(), d.id)
}

// agreeAtBank sends a user who has agreed from the bank to the auth server.
func (s *Simulator) agreeAtBank(w http.ResponseWriter, r *http.Request, d *dialog, accounts []account) {
	d.accounts, d.bankCode = accounts, newHex(16)
	s.keep(d)
	toAuthServer(w, r, url.Values{"code": {d.bankCode}, "state": {d.id}})
}

// leaveBank sends a user from the bank to the auth server with an error.
func leaveBank(w http.ResponseWriter, r *http.Request, d *dialog, code string) {
	toAuthServer(w, r, url.Values{"error": {code}, "state": {d.id}})
}

func toAuthServer(w http.ResponseWriter, r *http.Request, answer url.Values) {
	seeOther(w, address(r)+hybridCallback+"?"+answer.Encode())
}

// serveHybridCallback takes the answer of a bank, and sends the user on to the
// application.
func (s *Simulator) serveHybridCallback(w http.ResponseWriter, r *http.Request) {
	answer := r.URL.Query()
	d, err := s.open(answer.Get("state"))
	if err == nil && !d.atBank {
		err = errTimedOut
	}
	var fields url.Values
	switch code := answer.Get("error"); {
	case err != nil:
	case code == bankDenied:
		s.cancel(w, &d)
		return
	case code != "":
		fields = s.failAtBank(&d)
	case d.bankCode == "" || answer.Get("code") != d.bankCode:
		err = errors.New("the bank did not send this answer; go back to the application and start again")
	default:
		fields, err = s.complete(&d, d.accounts)
	}
	if err != nil {
		errorPage(w, http.StatusBadRequest, "This login has stopped: "+err.Error()+".")
		return
	}
	d.link.answer(w, fields)
}

// failAtBank ends a dialog, and returns what the application learns about a bank
// that failed.
func (s *Simulator) failAtBank(d *dialog) url.Values {
	s.mu.Lock()
	s.dialogs.drop(d.id)
	s.mu.Unlock()
	fields := url.Values{"error": {"provider_error"}, "error_description": {"the bank failed"}}
	if d.link.hasState {
		fields.Set("state", d.link.state)
	}
	return fields
}

// Consent returns the request for a direct bank link with which the application
// told of the user's consent to a connection. The subject is that of the
// connection's access tokens. Consent returns false for a connection that
// TrueLayer's dialog made, and for one that does not exist.
func (s *Simulator) Consent(subject string) (AuthURIRequest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.connections.get(subject, s.clock())
	if !known || c.consent == nil {
		return AuthURIRequest{}, false
	}
	return c.consent.clone(), true
}
