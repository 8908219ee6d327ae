package authserver

// Secret is text that no formatter prints: the client secret, a token, a code
// verifier. The text is behind a pointer because fmt does not call the methods of
// unexported fields, and would print a string.
type Secret struct{ text *string }

// NewSecret returns a Secret with the text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text, which is "" for the zero Secret.
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

// MarshalText implements encoding.TextMarshaler, which JSON encoders and zap use.
// It omits the text as well.
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
