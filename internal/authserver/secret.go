package authserver

// Secret is text that no formatter prints: the client secret, a token, a code
// verifier. The text lies behind a pointer because fmt cannot call methods on
// unexported fields and would otherwise print a plain string type in clear.
type Secret struct{ text *string }

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text; "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String implements fmt.Stringer.
func (Secret) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "[redacted]" }

// MarshalText implements encoding.TextMarshaler, which JSON encoders and zap
// use. A Secret cannot be carried through an encoder, on purpose.
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
