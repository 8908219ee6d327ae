package simulator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultsQueueInOrder(t *testing.T) {
	f := start(t)
	f.Fail(Token, Fault{Times: 2, Status: 503})
	f.Fail(Token, Fault{Times: 1, Status: 429, Header: http.Header{"retry-after": {"7"}}})
	form := exchangeForm(f.code())
	for i, want := range []int{503, 503, 429, 200} {
		r := f.postToken(form)
		if r.status != want {
			t.Errorf("request %d: %d, want %d", i, r.status, want)
		}
		if want == 429 && r.header.Get("Retry-After") != "7" {
			t.Errorf("headers %v", r.header)
		}
	}
}

func TestAFaultLastsUntilCleared(t *testing.T) {
	f := start(t)
	f.Fail(JWKS, Fault{Status: 500})
	for range 3 {
		if r := f.send(http.MethodGet, "/.well-known/openid-configuration/jwks", "", ""); r.status != 500 {
			t.Errorf("%d", r.status)
		}
	}
	f.ClearFaults()
	if r := f.send(http.MethodGet, "/.well-known/openid-configuration/jwks", "", ""); r.status != 200 {
		t.Errorf("%d after ClearFaults", r.status)
	}
}

func TestFaultBodies(t *testing.T) {
	f := start(t)
	f.Fail(Token, Fault{Times: 1, Body: `{"access_token":""}`})
	if r := f.postToken(nil); r.status != 200 || r.body != `{"access_token":""}` || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", r)
	}
	f.Fail(Token, Fault{Times: 1, Status: 502, ContentType: "text/html", Body: "<h1>Bad gateway</h1>"})
	if r := f.postToken(nil); r.status != 502 || r.header.Get("Content-Type") != "text/html" {
		t.Errorf("%+v", r)
	}
	f.Fail(Token, Fault{Times: 1, Status: 500, ContentType: "text/plain"})
	if r := f.postToken(nil); r.status != 500 || r.body != "" {
		t.Errorf("%+v", r)
	}
	for status, want := range map[int]string{400: "invalid_request", 401: "unauthorized", 429: "invalid_request", 500: "internal_server_error", 503: "internal_server_error", 418: "internal_server_error"} {
		f.Fail(Token, Fault{Times: 1, Status: status})
		if r := f.postToken(nil); r.status != status || r.errorCode(t) != want {
			t.Errorf("%d: %d %s", status, r.status, r.body)
		}
	}
	f.Fail(Authorize, Fault{Times: 1, Status: 503})
	if r := f.send(http.MethodGet, strings.TrimPrefix(f.link(), f.url), "", ""); r.status != 503 || !strings.Contains(r.body, "<html") {
		t.Errorf("%+v", r)
	}
}

func TestAHeaderAloneDoesNotStopTheAct(t *testing.T) {
	f := start(t)
	f.Fail(Token, Fault{Header: http.Header{"X-Extra": {"1"}}})
	if r := f.postToken(exchangeForm(f.code())); r.status != 200 || r.header.Get("X-Extra") != "1" {
		t.Errorf("%+v", r)
	}
}

func TestRate(t *testing.T) {
	f := start(t)
	f.Fail(JWKS, Fault{Rate: 0.5, Status: 500})
	failed := 0
	for range 200 {
		if f.send(http.MethodGet, "/.well-known/openid-configuration/jwks", "", "").status == 500 {
			failed++
		}
	}
	if failed < 50 || failed > 150 {
		t.Errorf("%d of 200 failed, want about half", failed)
	}
}

func TestDrops(t *testing.T) {
	tests := map[string]struct {
		fault Fault
		acted bool
	}{
		"before":                {Fault{Times: 1, DropBefore: true}, false},
		"after":                 {Fault{Times: 1, DropAfter: true}, true},
		"truncated":             {Fault{Times: 1, Truncate: true}, true},
		"instead, and then cut": {Fault{Times: 1, Status: 200, Body: "0123456789", Truncate: true}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.Fail(Token, tt.fault)
			form := exchangeForm(f.code())
			r, err := f.try(http.MethodPost, "/connect/token", formType, form.Encode())
			if err == nil {
				t.Errorf("the answer arrived: %+v", r)
			}
			if tt.fault.Truncate && r.body == "" {
				t.Error("nothing arrived, want half")
			}
			if again := f.postToken(form); (again.status != 200) != tt.acted {
				t.Errorf("the code afterwards: %d %s", again.status, again.body)
			}
		})
	}
}

func TestHuge(t *testing.T) {
	f := start(t)
	f.Fail(Token, Fault{Huge: true})
	r := f.postToken(exchangeForm(f.code()))
	var got tokenResponse
	r.decode(t, &got)
	if len(r.body) < 1<<20 || got.AccessToken == "" {
		t.Errorf("%d bytes, token %q", len(r.body), got.AccessToken)
	}
	for _, body := range []string{"{}", "[1]", ""} {
		f.ClearFaults()
		f.Fail(Token, Fault{Huge: true, Body: body, ContentType: "application/json"})
		if r := f.postToken(nil); len(r.body) < 1<<20 || body != "" && !json.Valid([]byte(r.body)) {
			t.Errorf("%q: %d bytes", body, len(r.body))
		}
	}
}

func TestHold(t *testing.T) {
	f := start(t)
	hold := make(chan struct{})
	f.Fail(Token, Fault{Times: 1, Hold: hold})
	form := exchangeForm(f.code())
	done := make(chan reply, 1)
	go func() {
		r, _ := f.try(http.MethodPost, "/connect/token", formType, form.Encode())
		done <- r
	}()
	hold <- struct{}{} // arrives only where the request is held
	if r := <-done; r.status != 200 {
		t.Errorf("%+v", r)
	}
}

func TestAClientThatGivesUpUndoesNothing(t *testing.T) {
	f := start(t)
	f.Fail(Token, Fault{Times: 1, Hold: make(chan struct{}), Delay: time.Hour})
	form := exchangeForm(f.code())
	gone, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(gone, http.MethodPost, "/connect/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	f.ServeHTTP(httptest.NewRecorder(), r)
	if r := f.postToken(form); r.errorCode(t) != "invalid_grant" {
		t.Errorf("the code is still good: %s", r.body)
	}
}

// The wait itself, on a clock that jumps.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		fault := Fault{Delay: 3 * time.Second}
		fault.wait(t.Context())
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestFailNeedsAnEndpoint(t *testing.T) {
	f := start(t)
	defer func() {
		if recover() == nil {
			t.Error("Fail accepts an endpoint that does not exist")
		}
	}()
	f.Fail("tokens", Fault{})
}
