package pages

import (
	"strings"
	"testing"
)

func consentPage() *Consent {
	return &Consent{
		Controller: "Payroll & Sons Ltd", Bank: "A <bank>", Logo: "/truelayer/banks?logo=a",
		Text:  English().ConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, true),
		Known: "Ada <Lovelace>",
		Form: Form{Post: "/truelayer/consent", Token: "the-token", Fields: []Field{
			{Name: "email", Key: "field_email", Type: "email", Autocomplete: "email", Autocapitalize: "none", Required: true, Value: `"><script>`, Problem: "problem_email"},
			{Name: "step:branch", Label: "Branch", Help: "Choose a <branch>", Options: []Option{{"a", "Alsace"}, {"b", `B"`}}, Value: "b"},
		}},
		OtherBank: "/truelayer/banks", Cancel: "/truelayer?error=access_denied",
	}
}

// TestConsentPage: what is given is on the page, escaped, and the form may lead to a bank.
func TestConsentPage(t *testing.T) {
	body, policy := draw(t, consentPage())
	for _, want := range []string{
		"Connect A &lt;bank&gt;", "Payroll &amp; Sons Ltd", "Ada &lt;Lovelace&gt;", `type="email" value="&#34;&gt;&lt;script&gt;" autocomplete="email" autocapitalize="none"`, `aria-invalid="true" aria-describedby="problem0"`, `<a href="#field0">Your e-mail address: Enter an e-mail`, "<title>Error: ",
		`aria-describedby="help1"`, `<option value="b" selected>B&#34;</option>`, `name="token" value="the-token"`, `action="/truelayer/consent"`,
		`href="/truelayer/banks"`, `href="/truelayer?error=access_denied"`, `href="https://app.example.com/terms"`, "(optional)", `tabindex="-1" autofocus`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(policy, "form-action") || strings.Contains(policy, "script-src") {
		t.Errorf("the policy is %s", policy)
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "img-src 'self' data:", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy is %s", policy)
		}
	}
	failed := consentPage()
	failed.Failure, failed.Reason, failed.RequestID = "too_many_consents", "a_reason", "id-1"
	if body, _ = draw(t, failed); !strings.Contains(body, "to your bank just now</h2>") || !strings.Contains(body, "<dd>a_reason</dd>") || !strings.Contains(body, "<dd>id-1</dd>") || strings.Contains(body, "Please correct this") {
		t.Error(body)
	}
	body, _ = draw(t, &Consent{Bank: "b", Form: Form{Post: "/p"}})
	for _, absent := range []string{"<img", "<input name", "<select", "Your details", "Choose another bank", "autofocus", "<footer"} {
		if strings.Contains(body, absent) {
			t.Errorf("%s is on a page without one: %s", absent, body)
		}
	}
}

// TestConsentTextIsShown: each line that TrueLayer is told is on the page, word for word
// and in the same order.
func TestConsentTextIsShown(t *testing.T) {
	page := consentPage()
	body, _ := draw(t, page)
	shown := shownOn(body)
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
		"Data that TrueLayer calls “new_scope”.", English().Say("scope_verification"), English().Say("consent_logout"), English().Say("consent_offline"),
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if text.ReadOnly || !English().ConsentText("C", "P", "https://a.example/", []string{"verification", "info"}, false).ReadOnly {
		t.Error("a scope that is not known may move money")
	}
	if strings.Contains(text.String(), "%") {
		t.Error(text)
	}
	digests := map[string]bool{text.Digest(): true}
	for _, other := range []ConsentText{
		English().ConsentText("Payroll & Sons", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, true),
		English().ConsentText("Payroll & Sons Ltd", "To check.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, true),
		English().ConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/", []string{"verification", "offline_access", "new_scope"}, true),
		English().ConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification"}, true),
		English().ConsentText("Payroll & Sons Ltd", "To check that <you> own the account.", "https://app.example.com/terms", []string{"verification", "offline_access", "new_scope"}, false),
	} {
		digests[other.Digest()] = true
	}
	if len(digests) != 6 || len(text.Digest()) != 64 {
		t.Errorf("%v", digests)
	}
}
