package simulator

import (
	"bytes"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"path"
	"strings"
)

func logoPath(b bank) string {
	if b.ID == bankWithPNG {
		return "/logos/" + b.ID + ".png"
	}
	return "/logos/" + b.ID + ".svg"
}

// serveLogo serves the logo of a bank, also of one that an auth link made up.
func serveLogo(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimSuffix(r.PathValue("file"), path.Ext(r.PathValue("file")))
	if !providerID.MatchString(id) {
		http.NotFound(w, r)
		return
	}
	b := byProviderID(id)
	if r.URL.Path != logoPath(b) {
		http.NotFound(w, r)
		return
	}
	logo, mediaType := svgLogo(b), "image/svg+xml"
	if b.ID == bankWithPNG {
		logo, mediaType = pngLogo(b), "image/png"
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(logo)
}

func svgLogo(b bank) []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="40" height="40" rx="10" fill="%s"/>`+
		`<text x="20" y="27" text-anchor="middle" font-family="sans-serif" font-size="20" font-weight="700" fill="#fff">%s</text></svg>`,
		b.Tone, html.EscapeString(b.Initial()))
}

// pngLogo returns a square in the bank's colour with a lighter one in it.
func pngLogo(b bank) []byte {
	tone := color.RGBA{A: 0xff}
	_, _ = fmt.Sscanf(b.Tone, "#%02x%02x%02x", &tone.R, &tone.G, &tone.B)
	picture := image.NewRGBA(image.Rect(0, 0, 40, 40))
	draw.Draw(picture, picture.Bounds(), image.NewUniform(tone), image.Point{}, draw.Src)
	draw.Draw(picture, image.Rect(12, 12, 28, 28), image.NewUniform(color.White), image.Point{}, draw.Src)
	var file bytes.Buffer
	_ = png.Encode(&file, picture) // a buffer takes everything
	return file.Bytes()
}
