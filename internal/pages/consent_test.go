package pages

import (
	"html"
	"regexp"
	"strings"
	"testing"
)

func consentPage() *Consent {
	return &Consent{
		Site: "app.example.com", Controller: "Payroll & Sons Ltd", Bank: "A <bank>", Logo: "/truelayer/banks?logo=a",
		Text:  NewConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, true),
		Known: []string{"Ada <Lovelace>"},
		Form: Form{Post: "/truelayer/consent", Token: "the-token", Fields: []Field{
			{Name: "email", Label: "E-mail address", Type: "email", Autocomplete: "email", Autocapitalize: "none", Required: true, Value: `"><script>`, Problem: TextOf("problem_email").Text},
			{Name: "step:branch", Label: "Branch", Help: "Choose a <branch>", Options: []Option{{"a", "Alsace"}, {"b", `B"`}}, Value: "b"},
		}},
		OtherBank: "/truelayer/banks", Cancel: "/truelayer?error=access_denied",
	}
}

// TestConsentPage: what is given is on the page, escaped, and the form may lead to a bank.
func TestConsentPage(t *testing.T) {
	body, policy, err := consentPage().Draw()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Connect A &lt;bank&gt;", "Payroll &amp; Sons Ltd", "Ada &lt;Lovelace&gt;", `type="email" value="&#34;&gt;&lt;script&gt;" autocomplete="email" autocapitalize="none"`, `aria-invalid="true" aria-describedby="problem0"`, `<a href="#field0">E-mail address: Enter an e-mail`, "<title>Error: ",
		`aria-describedby="help1"`, `<option value="b" selected>B&#34;</option>`, `name="token" value="the-token"`, `action="/truelayer/consent"`,
		`href="/truelayer/banks"`, `href="/truelayer?error=access_denied"`, `href="https://app.example.com/terms"`, "(optional)", `tabindex="-1" autofocus`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(string(body), "<script") || strings.Contains(policy, "form-action") || strings.Contains(policy, "script-src") {
		t.Errorf("the policy is %s", policy)
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "img-src 'self'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy is %s", policy)
		}
	}
	failed := consentPage()
	failed.Failure, failed.Reason, failed.RequestID = Text{Title: "It <failed>", Text: "Try again."}, "a_reason", "id-1"
	if body, _, err = failed.Draw(); err != nil || !strings.Contains(string(body), "It &lt;failed&gt;") || !strings.Contains(string(body), "a_reason<br>Request id-1") || strings.Contains(string(body), "Please correct this") {
		t.Errorf("%v: %s", err, body)
	}
	least := Consent{Site: "s", Bank: "b", Form: Form{Post: "/p"}}
	body, _, err = least.Draw()
	for _, absent := range []string{"<img", "<input name", "<select", "Your details", "Choose another bank", "autofocus", "<footer"} {
		if err != nil || strings.Contains(string(body), absent) {
			t.Errorf("%s is on a page without one: %s, %v", absent, body, err)
		}
	}
}

var tags = regexp.MustCompile(`(?s)<style>.*?</style>|<[^>]*>`)

// TestConsentTextIsShown: each line that TrueLayer is told is on the page, word for word
// and in the same order.
func TestConsentTextIsShown(t *testing.T) {
	page := consentPage()
	body, _, err := page.Draw()
	if err != nil {
		t.Fatal(err)
	}
	shown := html.UnescapeString(tags.ReplaceAllString(string(body), ""))
	lines := strings.Split(page.Text.String(), "\n")
	if len(lines) < 10 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		_, rest, found := strings.Cut(shown, line)
		if !found {
			t.Fatalf("%q is not on the page, or in another place: %s", line, shown)
		}
		shown = rest
	}
}

// TestConsentText: the text says what the site says, each scope has words, and another text
// has another digest.
func TestConsentText(t *testing.T) {
	text := consentPage().Text
	for _, want := range []string{
		"Payroll & Sons Ltd gets the data.", "To check that <you> own the account.", "Payroll & Sons Ltd uses your data under these terms: https://app.example.com/terms",
		"Data that TrueLayer calls “new_scope”.", TextOf("scope_verification").Text, TextOf("consent_logout").Text, TextOf("consent_offline").Text,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if text.ReadOnly || !NewConsentText("C", "P", "https://a.example/", []string{"verification", "info"}, false).ReadOnly {
		t.Error("a scope that is not known may move money")
	}
	if strings.Contains(text.String(), "%") {
		t.Error(text)
	}
	digests := map[string]bool{text.Digest(): true}
	for _, other := range []ConsentText{
		NewConsentText("Payroll & Sons", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, true),
		NewConsentText("Payroll & Sons Ltd", "To check.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, true),
		NewConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/", []string{"verification", "offline_access", "new_scope"}, true),
		NewConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification"}, true),
		NewConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, false),
	} {
		digests[other.Digest()] = true
	}
	if len(digests) != 6 || len(text.Digest()) != 64 {
		t.Errorf("%v", digests)
	}
}
