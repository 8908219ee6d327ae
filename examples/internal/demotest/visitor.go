package demotest

import (
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

// Visitor opens the pages of a site, keeps cookies, and follows no redirect.
type Visitor struct {
	// User and Password are what the visitor gives to basic_auth, if there is a User.
	User, Password string

	// Header are further fields of the visitor's requests.
	Header http.Header

	t      *testing.T
	site   *url.URL
	client *http.Client
}

// NewVisitor returns a visitor of a site.
func NewVisitor(t *testing.T, site string) *Visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	return &Visitor{t: t, site: address, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer is what the site answers.
type Answer struct {
	*http.Response
	Text     string
	Location string // where it leads
}

// Open opens a page, at a path of the site or at a whole address.
func (v *Visitor) Open(target string) *Answer {
	v.t.Helper()
	return v.send(http.MethodGet, target, "", map[string]string{"Accept": "text/html"})
}

// Send sends a form.
func (v *Visitor) Send(target string, form url.Values) *Answer {
	v.t.Helper()
	return v.send(http.MethodPost, target, form.Encode(), map[string]string{
		"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded", "Origin": v.site.String(),
	})
}

// Fetch makes the request of a page's script. A body is JSON.
func (v *Visitor) Fetch(method, target, body string) *Answer {
	v.t.Helper()
	header := map[string]string{"Accept": "*/*", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}
	if body != "" {
		header["Content-Type"] = "application/json"
	}
	return v.send(method, target, body, header)
}

func (v *Visitor) send(method, target, body string, header map[string]string) *Answer {
	v.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = v.site.String() + target
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	maps.Copy(req.Header, v.Header)
	if v.User != "" {
		req.SetBasicAuth(v.User, v.Password)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return &Answer{resp, string(text), resp.Header.Get("Location")}
}

// Connect follows an auth link through the simulated bank, as the holder John Doe, and
// comes back to the site. It returns where the site leads then.
func (v *Visitor) Connect(authLink string) (location string) {
	v.t.Helper()
	callback, err := simulator.Approve(v.t.Context(), nil, authLink)
	if err != nil {
		v.t.Fatal(authLink, err)
	}
	return v.Open(callback).Location
}

// SendModuleForm opens a page of the module's own and sends its form, with the token
// that the page has in it.
func (v *Visitor) SendModuleForm(target string, fields url.Values) *Answer {
	v.t.Helper()
	_, rest, _ := strings.Cut(v.Open(target).Text, `name="token" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	fields.Set("token", token)
	return v.Send(target, fields)
}

// Cookie returns the value of a cookie of the site, "" if there is none.
func (v *Visitor) Cookie(name string) string {
	for _, cookie := range v.client.Jar.Cookies(v.site) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	return ""
}
