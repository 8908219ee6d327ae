package simulator

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
)

// AuthURIRequest is the body of a request for a direct bank link: POST /v1/authuri.
// The application has chosen the bank with the user, and collected their consent.
type AuthURIRequest struct {
	ResponseType    string
	ClientID        string
	RedirectURI     string
	Scope           string
	State           string
	ConsentID       string
	User            User
	DataUse         string // data_use_description
	ProviderID      string
	Challenge       string // code_challenge
	ChallengeMethod string // code_challenge_method
	ResponseMode    string
	AuthInputs      []AuthInput
	TrackingID      string
}

// User is the user whose consent an application has collected. It is the zero User
// if the application sent none.
type User struct {
	ID    string
	Name  string
	Email string
	Phone string
}

// AuthInput is what a user entered for one of the steps of a provider.
type AuthInput struct {
	ID    string // of the step's field
	Value string
}

func (q *AuthURIRequest) read(body []byte) error {
	err := readObject(body, map[string]any{
		"response_type": &q.ResponseType, "client_id": &q.ClientID, "redirect_uri": &q.RedirectURI,
		"scope": &q.Scope, "state": &q.State, "consent_id": &q.ConsentID, "user": &q.User,
		"data_use_description": &q.DataUse, "provider_id": &q.ProviderID, "code_challenge": &q.Challenge,
		"code_challenge_method": &q.ChallengeMethod, "response_mode": &q.ResponseMode,
		"auth_inputs": &q.AuthInputs, "tracking_id": &q.TrackingID,
	}, false)
	if err != nil {
		return err
	}
	return needed(map[string]string{
		"response_type": q.ResponseType, "client_id": q.ClientID, "redirect_uri": q.RedirectURI,
		"scope": q.Scope, "consent_id": q.ConsentID, "provider_id": q.ProviderID,
	})
}

func (q *AuthURIRequest) clone() AuthURIRequest {
	c := *q
	c.AuthInputs = slices.Clone(q.AuthInputs)
	return c
}

// UnmarshalJSON reads a user. It has a name, and an e-mail address or a phone
// number. The API description does not forbid other members.
func (u *User) UnmarshalJSON(b []byte) error {
	err := readObject(b, map[string]any{"id": &u.ID, "name": &u.Name, "email": &u.Email, "phone": &u.Phone}, true)
	if err != nil {
		return err
	}
	if u.Name == "" || u.Email == "" && u.Phone == "" {
		return errors.New("send the name, and the email or the phone")
	}
	if address, err := mail.ParseAddress(u.Email); u.Email != "" && (err != nil || address.Address != u.Email) {
		return errors.New("email: send an e-mail address and nothing else")
	}
	return nil
}

// UnmarshalJSON reads an input, an object with a single member.
func (i *AuthInput) UnmarshalJSON(b []byte) error {
	found, err := members(b, nil)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return errors.New("send objects with one member each: the id of a field and its value")
	}
	for id, value := range found {
		i.ID = id
		return readMember(id, value, &i.Value)
	}
	return nil
}

// consentID is strict: the API description wants a consent_id to be alphanumeric,
// but an example in TrueLayer's guide has a hyphen in it.
var consentID = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// check returns what is wrong with a request whose client is known.
func (q *AuthURIRequest) check(client Client) error {
	if !consentID.MatchString(q.ConsentID) {
		return errors.New("consent_id: send letters and digits only")
	}
	if client.NoBanks || !slices.ContainsFunc(banks, func(b bank) bool { return b.ID == q.ProviderID }) {
		return fmt.Errorf("provider_id %q: send one that /api/providers lists for the client", q.ProviderID)
	}
	return checkInputs(inputSteps[q.ProviderID].Fields, q.AuthInputs)
}

// checkInputs compares what a user entered with what the bank needs to know.
func checkInputs(fields []input, entered []AuthInput) error {
	values := make(map[string]string, len(entered))
	for _, one := range entered {
		if _, twice := values[one.ID]; twice {
			return fmt.Errorf("auth_inputs: send %s once", one.ID)
		}
		values[one.ID] = one.Value
	}
	for _, field := range fields {
		value, there := values[field.ID]
		delete(values, field.ID)
		if !there && field.Mandatory {
			return fmt.Errorf("auth_inputs: send %s, which the bank needs", field.ID)
		}
		if there && !field.accepts(value) {
			return fmt.Errorf("auth_inputs: send a value of %s that the bank accepts", field.ID)
		}
	}
	for id := range values {
		return fmt.Errorf("auth_inputs: leave out %s, which the bank does not ask for", id)
	}
	return nil
}

func (f *input) accepts(value string) bool {
	for _, rule := range f.Validations {
		if !regexp.MustCompile(rule).MatchString(value) {
			return false
		}
	}
	return f.Type == freeText || slices.ContainsFunc(f.Values, func(c choice) bool { return c.Value == value })
}

// link returns the request as an auth link, for which the same rules hold.
func (q *AuthURIRequest) link(client Client) (*authLink, error) {
	query := url.Values{
		"response_type": {q.ResponseType}, "redirect_uri": {q.RedirectURI}, "scope": {q.Scope},
		"provider_id": {q.ProviderID}, "providers": {q.ProviderID}, "response_mode": {q.ResponseMode},
		"code_challenge": {q.Challenge}, "code_challenge_method": {q.ChallengeMethod},
	}
	if q.State != "" {
		query.Set("state", q.State)
	}
	link := newAuthLink(client, query, string(randomBytes(32)))
	return link, link.check(query)
}

// needed returns an error if one of the members of a request is missing.
func needed(values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if values[name] == "" {
			return fmt.Errorf("%s: send it", name)
		}
	}
	return nil
}

// serveAuthURI makes a link that leads directly to a bank.
func (s *Simulator) serveAuthURI(w http.ResponseWriter, r *http.Request) {
	var q AuthURIRequest
	if err := readJSONRequest(r, q.read); err != nil {
		invalidRequest(err.Error()).write(w)
		return
	}
	// TrueLayer documents unauthorized_client for a client id or a redirect URI that it
	// does not know. How it refuses a client that is not approved it does not say, so
	// that is a guess. Whether it allows the scope verification here is not known: its
	// list of scopes lacks it, and the simulator allows it.
	client, known := s.clients[q.ClientID]
	if !known || client.NoDirect || !slices.Contains(client.RedirectURIs, q.RedirectURI) {
		errUnauthorizedClient.write(w)
		return
	}
	link, err := q.link(client)
	if err == nil {
		err = q.check(client)
	}
	if err != nil {
		invalidRequest(err.Error()).write(w)
		return
	}
	s.giveBankLink(w, r, &dialog{link: link, consent: &q})
}

// readJSONRequest reads the body of a request that has to be in JSON.
func readJSONRequest(r *http.Request, read func([]byte) error) error {
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return errors.New("Content-Type: send application/json")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return read(body)
}
