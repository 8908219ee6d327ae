package simulator

import (
	"net/http"
	"strings"
	"testing"
)

func TestApproveBringsACode(t *testing.T) {
	tests := map[string]struct {
		link    []string
		options []ApproveOption
		want    string // who the connection belongs to, where
	}{
		"plain":         {want: "John Doe at Mock"},
		"provider_id":   {link: []string{"provider_id", "mock"}, want: "John Doe at Mock"},
		"another bank":  {options: []ApproveOption{AtBank("ob-harbour")}, want: "John Doe at Harbour Bank"},
		"unknown bank":  {link: []string{"providers", "uk-ob-monzo"}, options: []ApproveOption{AtBank("ob-monzo")}, want: "John Doe at Monzo"},
		"another user":  {options: []ApproveOption{As("john42", "doe42")}, want: "Amina Patel at Mock"},
		"iban user":     {options: []ApproveOption{As("john1", "iban1")}, want: "Jane Doe at Mock"},
		"form_post":     {link: []string{"response_mode", "form_post"}, want: "John Doe at Mock"},
		"with a query":  {link: []string{"redirect_uri", testRedirect + "?a=b"}, want: "John Doe at Mock"},
		"awkward state": {link: []string{"state", `a&b="<c>`}, want: "John Doe at Mock"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			link := f.link(tt.link...)
			asked := queryOf(t, link)
			callback, err := Approve(t.Context(), nil, link, tt.options...)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(callback, asked.Get("redirect_uri")) {
				t.Errorf("sent to %s, want the redirect URI", callback)
			}
			got := queryOf(t, callback)
			if got.Get("state") != asked.Get("state") || got.Get("scope") != asked.Get("scope") || len(got.Get("code")) != 64 {
				t.Errorf("callback %v", got)
			}
			f.tokens(exchangeForm(got.Get("code"), "redirect_uri", asked.Get("redirect_uri")))
			for _, c := range f.all() {
				if who := c.person.name + " at " + c.bank.Name; who != tt.want {
					t.Errorf("connected %s, want %s", who, tt.want)
				}
			}
		})
	}
}

// all are the connections there are.
func (f *fixture) all() (list []*connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connections.each(func(c *connection) { list = append(list, c) })
	return list
}

func TestCancel(t *testing.T) {
	for _, step := range []string{stepBank, stepConsent, stepLogin, stepAccounts} {
		t.Run(step, func(t *testing.T) {
			f := start(t)
			link := f.link()
			callback, err := Approve(t.Context(), nil, link, CancelAt(step))
			if err != nil {
				t.Fatal(err)
			}
			got := queryOf(t, callback)
			if got.Get("error") != "access_denied" || got.Get("state") != "the-state" || got.Has("code") {
				t.Errorf("callback %v", got)
			}
			if _, err := Approve(t.Context(), nil, link); err != nil {
				t.Errorf("the link of a cancelled login is refused: %v", err)
			}
		})
	}
}

func TestCancelWithoutState(t *testing.T) {
	f := start(t)
	callback, err := Approve(t.Context(), nil, f.link("state", "", "response_mode", "form_post"), Cancel())
	if err != nil {
		t.Fatal(err)
	}
	if got := queryOf(t, callback); got.Has("state") || got.Get("error") != "access_denied" {
		t.Errorf("callback %v", got)
	}
}

// TestWhatACancelBrings: with a cancellation URI of its own the browser brings
// back what that says, whatever the link asked for.
func TestWhatACancelBrings(t *testing.T) {
	for cancelled, want := range map[string]string{
		"error":    "error=access_denied&error_description=the+user+cancelled&state=the-state",
		"no_state": "error=access_denied",
		"nothing":  "",
	} {
		for _, mode := range []string{"", "form_post"} {
			t.Run(cancelled+mode, func(t *testing.T) {
				f := start(t)
				if r := f.send(http.MethodPut, "/simulator/settings", jsonType, `{"cancelled":"`+cancelled+`"}`); r.status != http.StatusOK {
					t.Fatal(r.body)
				}
				callback, err := Approve(t.Context(), nil, f.link("response_mode", mode), Cancel())
				if err != nil {
					t.Fatal(err)
				}
				if address, query, asks := strings.Cut(callback, "?"); address != testRedirect || query != want || asks != (want != "") {
					t.Errorf("callback %s", callback)
				}
			})
		}
	}
}

func TestApproveReportsWhatTheDialogSays(t *testing.T) {
	tests := map[string]struct {
		link    []string
		options []ApproveOption
		want    string
	}{
		"wrong password": {options: []ApproveOption{As("john", "dough")}, want: "wrong"},
		"wrong number":   {options: []ApproveOption{As("john1", "doe2")}, want: "wrong"},
		"no such john":   {options: []ApproveOption{As("john101", "doe101")}, want: "wrong"},
		"locked":         {options: []ApproveOption{As("error.account_permanently_locked", "x")}, want: "locked"},
		"unknown bank":   {options: []ApproveOption{AtBank("ob-elsewhere")}, want: "choose a bank"},
		"unknown client": {link: []string{"client_id", "live-id"}, want: "client_id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			_, err := Approve(t.Context(), nil, f.link(tt.link...), tt.options...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to mention %q", err, tt.want)
			}
		})
	}
}

func TestApproveNeedsASimulator(t *testing.T) {
	f := start(t)
	if _, err := Approve(t.Context(), http.DefaultClient, f.url+"/simulator/calls"); err == nil {
		t.Error("Approve is content with a page that is no dialog")
	}
}

func TestALinkLeadsToOneCode(t *testing.T) {
	f := start(t)
	link := f.link()
	opened := f.send(http.MethodGet, strings.TrimPrefix(link, f.url), "", "")
	if _, err := Approve(t.Context(), nil, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Approve(t.Context(), nil, link); err == nil || !strings.Contains(err.Error(), "used before") {
		t.Errorf("opened again: %v", err)
	}
	if _, err := f.Grant(link); err == nil {
		t.Error("Grant makes a second code")
	}
	if _, err := Approve(t.Context(), nil, f.url+opened.header.Get("Location")); err == nil {
		t.Error("a second dialog of the link makes a second code")
	}
}
