package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// Site answers a visitor's request.
type Site func(*http.Request) (*http.Response, error)

// InProcess is a site that is called without a connection.
func InProcess(h http.Handler) Site {
	return func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	}
}

// Login connects a bank as a visitor would and returns the session's cookie as
// it stands in a Cookie field.
func Login(site Site, grant func(authLink string) (callback string, err error)) (cookie string, err error) {
	link, loginCookies, err := visit(site, "/", "")
	if err != nil {
		return "", err
	}
	back, err := grant(link)
	if err != nil {
		return "", err
	}
	callback, err := url.Parse(back)
	if err != nil {
		return "", err
	}
	_, cookies, err := visit(site, callback.RequestURI(), strings.Join(loginCookies, "; "))
	if err != nil {
		return "", err
	}
	for _, cookie := range cookies {
		if name, _, _ := strings.Cut(cookie, "="); !strings.Contains(name, "-login-") {
			return cookie, nil
		}
	}
	return "", errors.New("the callback set no session cookie")
}

// visit opens a page that has to redirect, and returns where to and the
// cookies that it set.
func visit(site Site, target, cookie string) (location string, cookies []string, err error) {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost"+target, nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	answer, err := site(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther {
		return "", nil, fmt.Errorf("%s was answered with %s instead of a redirect", r.URL.Path, answer.Status)
	}
	for _, line := range answer.Header["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		cookies = append(cookies, pair)
	}
	return answer.Header.Get("Location"), cookies, nil
}
