package simulator

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// reauthURIRequest is the body of a request for a reauthentication link: POST
// /v1/reauthuri.
type reauthURIRequest struct {
	responseType    string
	refreshToken    string
	redirectURI     string
	state           string
	challenge       string
	challengeMethod string
	responseMode    string
}

func (q *reauthURIRequest) read(body []byte) error {
	err := readObject(body, map[string]any{
		"response_type": &q.responseType, "refresh_token": &q.refreshToken, "redirect_uri": &q.redirectURI,
		"state": &q.state, "code_challenge": &q.challenge, "code_challenge_method": &q.challengeMethod,
		"response_mode": &q.responseMode,
	}, false)
	if err != nil {
		return err
	}
	return needed(map[string]string{
		"response_type": q.responseType, "refresh_token": q.refreshToken, "redirect_uri": q.redirectURI,
	})
}

// serveReauthURI makes a link that leads the user of a connection to its bank
// again, before or after the consent ends.
func (s *Simulator) serveReauthURI(w http.ResponseWriter, r *http.Request) {
	var q reauthURIRequest
	if err := readJSONRequest(r, q.read); err != nil {
		invalidRequest(err.Error()).write(w)
		return
	}
	c, known := s.connectionOf(q.refreshToken)
	if !known {
		e := *invalidRequest("Invalid refresh_token")
		e.status = http.StatusUnauthorized
		e.write(w)
		return
	}
	if !slices.Contains(c.client.RedirectURIs, q.redirectURI) {
		errUnauthorizedClient.write(w)
		return
	}
	link, err := q.link(&c)
	// That only banks of the United Kingdom can be used is documented, but not the
	// answer for others.
	if c.bank.Country != "uk" {
		err = errors.New("the bank is not in the United Kingdom: let the user connect again")
	}
	if err != nil {
		invalidRequest(err.Error()).write(w)
		return
	}
	s.giveBankLink(w, r, &dialog{link: link, consent: c.consent, renews: &c})
}

// link returns the auth link that would make the connection again.
func (q *reauthURIRequest) link(c *connection) (*authLink, error) {
	again := AuthURIRequest{
		ResponseType: q.responseType, RedirectURI: q.redirectURI, Scope: strings.Join(c.scopes, " "), State: q.state,
		ProviderID: c.bank.ID, Challenge: q.challenge, ChallengeMethod: q.challengeMethod, ResponseMode: q.responseMode,
	}
	return again.link(c.client)
}

// connectionOf returns a copy of the connection that a refresh token belongs to. A
// token that was replaced by a newer one belongs to none.
func (s *Simulator) connectionOf(refreshToken string) (connection, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	subject, _ := s.refresh.get(refreshToken, now)
	c, known := s.connections.get(subject, now)
	if !known || c.refreshToken != refreshToken {
		return connection{}, false
	}
	return *c, true
}

// renew makes a new connection the successor of an old one: it has the subject and
// the tokens of the old one. If the user is another one, or the old connection was
// deleted meanwhile, the two have nothing in common. The caller holds mu.
func (s *Simulator) renew(old, c *connection) {
	present, known := s.connections.get(old.subject(), c.began)
	if !known || s.settings.ReauthOther || present.person.user != c.person.user {
		return
	}
	c.seed = present.seed
	c.refreshToken, c.refreshUsed, c.latestToken = present.refreshToken, present.refreshUsed, present.latestToken
}
