package pages

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"path/filepath"
	"strings"
)

// maxLogo bounds a logo, which is part of each page.
const maxLogo = 64 << 10

// logoTypes are the kinds of pictures that a logo can be, by the names of their files.
var logoTypes = map[string]string{
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
}

// readLogo returns the picture in a file as a URL, "" if the file is "". Browsers run no
// script of a picture.
func readLogo(file string) (template.URL, error) {
	if file == "" {
		return "", nil
	}
	kind, ok := logoTypes[strings.ToLower(filepath.Ext(file))]
	if !ok {
		return "", fmt.Errorf("logo %s is no picture that the pages can have: give a file that ends in .svg, .png, .jpg, .webp or .gif", file)
	}
	picture, err := readBounded(file, maxLogo)
	if err != nil {
		return "", fmt.Errorf("logo: %w", err)
	}
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(picture)), nil //nolint:gosec // the operator's own picture
}
