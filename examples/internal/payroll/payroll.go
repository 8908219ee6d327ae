// Package payroll is an application that has employees check that the account to which
// they are paid is theirs. The quickstart and the containers have it behind Caddy.
package payroll

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"
)

// application stands for a program that was never changed for bank logins. It
// reads the Authorization field of the requests that it gets and calls the
// Verification API with it. It also reads from a header field what the bank says of
// the visitor's name, for which it calls nobody. The form that signs people out, and the
// links to the page that asks for a name and to the one about the connection, are all
// that it knows of the module.
type application struct {
	api    string
	client *http.Client
}

// New returns the application. It calls TrueLayer's API at the address.
func New(api string) http.Handler {
	a := &application{api: api, client: &http.Client{Timeout: 30 * time.Second}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /account", a.account)
	mux.HandleFunc("POST /account", a.verify)
	return mux
}

//go:embed application.html
var applicationText string

var applicationPage = template.Must(template.New("application").Parse(applicationText))

// view is the content of the page.
type view struct {
	Title   string // "" on the home page
	Account bool
	Name    string
	Token   string
	Claimed string // the name that the visitor has given to the site
	Bank    string // the bank's word on that name
	Result  *verification
	Problem string
}

// verification is the part of the Verification API's answer that is shown.
type verification struct {
	Verified bool   `json:"verified"`
	Score    int    `json:"match_score"`
	Title    string `json:"title"`
	Detail   string `json:"detail"`
	Report   []struct {
		Verifiable  bool   `json:"verifiable"`
		DisplayName string `json:"display_name"`
		SortCode    string `json:"sort_code"`
		Number      string `json:"account_number"`
		IBAN        string `json:"iban"`
		Failure     string `json:"failure_description"`
	} `json:"report"`
}

func (a *application) home(w http.ResponseWriter, _ *http.Request) {
	show(w, view{})
}

func (a *application) account(w http.ResponseWriter, r *http.Request) {
	show(w, view{
		Title: "My account", Account: true, Token: excerpt(r.Header.Get("Authorization")),
		Claimed: r.Header.Get("X-Name"), Bank: r.Header.Get("X-Name-Verified"),
	})
}

func (a *application) verify(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	v := view{Title: "Name check", Account: true, Name: r.PostFormValue("name"), Token: excerpt(r.Header.Get("Authorization"))}
	result, err := a.callVerify(r, v.Name)
	if err != nil {
		v.Problem = err.Error()
	}
	v.Result = result
	show(w, v)
}

// callVerify calls the Verification API with the Authorization field of r.
func (a *application) callVerify(r *http.Request, name string) (*verification, error) {
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, a.api+"/verification/v1/verify", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", r.Header.Get("Authorization"))
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var result verification
	if err := json.Unmarshal(answer, &result); err != nil {
		return nil, fmt.Errorf("the Verification API answered %s", resp.Status)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the Verification API answered %s: %s", resp.Status, result.Detail)
	}
	return &result, nil
}

// excerpt returns the beginning of a token, enough to show that there is one.
func excerpt(authorization string) string {
	const most = len("Bearer ") + 12
	if len(authorization) <= most {
		return authorization
	}
	return authorization[:most] + "…"
}

func show(w http.ResponseWriter, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = applicationPage.Execute(w, v)
}
