package simulator

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// visitor is the person whom Approve imitates.
type visitor struct {
	bank     string
	user     string
	password string
	cancelAt string
}

// An ApproveOption changes the person whom Approve imitates.
type ApproveOption func(*visitor)

// AtBank chooses a bank other than Mock, by its provider_id.
func AtBank(providerID string) ApproveOption {
	return func(v *visitor) { v.bank = providerID }
}

// As logs in as a user other than john.
func As(user, password string) ApproveOption {
	return func(v *visitor) { v.user, v.password = user, password }
}

// Cancel presses Cancel on the consent page.
func Cancel() ApproveOption {
	return CancelAt(stepConsent)
}

// CancelAt presses Cancel on the page of a step: bank, consent, login or accounts.
func CancelAt(step string) ApproveOption {
	return func(v *visitor) { v.cancelAt = step }
}

// Approve follows an auth link through the simulator's dialog over HTTP, or a direct
// bank link through the pages of the bank, as a person would: it chooses Mock, presses Allow, logs in as john with the password
// doe, and selects all accounts. It returns the URL to which the browser would go
// next, at the application's redirect URI, but does not go there. If the answer is
// a form_post, its fields are in the URL's query. If c is nil, Approve uses
// http.DefaultClient.
func Approve(ctx context.Context, c *http.Client, authLink string, options ...ApproveOption) (callbackURL string, err error) {
	v := visitor{bank: mock.ID, user: "john", password: "doe"}
	for _, option := range options {
		option(&v)
	}
	if c == nil {
		c = http.DefaultClient
	}
	browser := *c
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	at, err := url.Parse(authLink)
	if err != nil {
		return "", fmt.Errorf("parse the auth link: %w", err)
	}
	var form url.Values
	// A dialog has four pages and four redirects, one more after a direct bank link.
	// More of them mean a loop.
	for range 12 {
		next, page, err := visit(ctx, &browser, at, form)
		if err != nil {
			return "", err
		}
		if next == nil {
			if target, ok := postedBack(page); ok {
				return target, nil
			}
			if next, form, err = v.fillIn(at, page); err != nil {
				return "", err
			}
		} else {
			form = nil
			ours := strings.HasPrefix(next.Path, "/dialog/") || next.Path == hybridCallback
			if !ours || next.Host != at.Host {
				return next.String(), nil
			}
		}
		at = next
	}
	return "", errors.New("the dialog does not come to an end: look at it in a browser")
}

// visit fetches a page, or posts a form. It returns the target of a redirect, or
// else the page.
func visit(ctx context.Context, c *http.Client, at *url.URL, form url.Values) (*url.URL, string, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, "", fmt.Errorf("ask for a page of the dialog: %w", err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("ask for a page of the dialog: %w", err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, "", fmt.Errorf("read a page of the dialog: %w", err)
	}
	if resp.StatusCode == http.StatusSeeOther {
		next, err := resp.Location()
		return next, "", err
	}
	if reason := alert.FindStringSubmatch(string(page)); reason != nil {
		return nil, "", fmt.Errorf("the dialog says: %s", html.UnescapeString(reason[1]))
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("the dialog answers %s: send an auth link of the simulator", resp.Status)
	}
	return nil, string(page), nil
}

// The simulator's own pages are regular enough to be parsed with expressions.
var (
	alert      = regexp.MustCompile(`role="alert">([^<]*)<`)
	accountBox = regexp.MustCompile(`name="account" value="([^"]*)"`)
	backForm   = regexp.MustCompile(`<form id="back" method="post" action="([^"]*)"`)
	formAction = regexp.MustCompile(`<form method="post" action="(/dialog/([a-z]+)\?[^"]*)"`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// fillIn returns the form that the person sends on a page, and its target.
func (v *visitor) fillIn(at *url.URL, page string) (*url.URL, url.Values, error) {
	step := strings.TrimPrefix(at.Path, "/dialog/")
	form := url.Values{}
	switch step {
	case stepBank:
		form.Set("provider_id", v.bank)
	case stepConsent:
	case stepLogin:
		form.Set("username", v.user)
		form.Set("password", v.password)
	case stepAccounts:
		for _, box := range accountBox.FindAllStringSubmatch(page, -1) {
			form.Add("account", box[1])
		}
	default:
		return nil, nil, fmt.Errorf("%s is no page of the dialog: send an auth link of the simulator", at.Path)
	}
	button := step
	if step == v.cancelAt {
		button, form = stepCancel, url.Values{}
	}
	for _, found := range formAction.FindAllStringSubmatch(page, -1) {
		if found[2] == button {
			next, err := at.Parse(html.UnescapeString(found[1]))
			return next, form, err
		}
	}
	return nil, nil, fmt.Errorf("the page %s has no button for %s", at.Path, button)
}

// postedBack returns the answer in a page that posts it to the application, as a
// URL. It returns false for other pages.
func postedBack(page string) (string, bool) {
	form := backForm.FindStringSubmatch(page)
	if form == nil {
		return "", false
	}
	fields := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(page, -1) {
		fields.Set(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	link := authLink{redirectURI: html.UnescapeString(form[1])}
	return link.back(fields), true
}
