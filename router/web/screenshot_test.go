package web

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir.dev/weir/internal/browser"
)

// testScreenshots draws the page in both colour schemes and at both widths. With WEIR_SCREENSHOTS set to a folder the
// pictures are kept there, to be looked at.
func testScreenshots(t *testing.T, b *browser.Browser) {
	dir := os.Getenv("WEIR_SCREENSHOTS")
	shots := map[string][]byte{}
	for _, width := range []int64{1280, 400} {
		for _, dark := range []bool{false, true} {
			f := newFakeRouter(t)
			tab := b.Tab(t, browser.Options{Width: width, Height: 900, Dark: dark})
			tab.Open(f.url + "/home")
			tab.WaitText("#live-state", "Connect")
			tab.WaitFor("document.querySelectorAll('#samples img').length === 2")
			tab.Eval("document.querySelector('#samples button').click()", nil)
			tab.WaitFor("document.querySelectorAll('.bars li').length === 5")
			waitStreams(t, f, 1)
			start := time.Now().UnixMilli() - 300_000
			for i := range 300 {
				f.send(t, start+int64(i)*1000, services(i+151))
			}
			tab.WaitText(".revision[data-revision=imagenet-00001]", "87")
			name := fmt.Sprintf("home-%d-%s.png", width, map[bool]string{false: "light", true: "dark"}[dark])
			shots[name] = tab.Screenshot("")
			if dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name), shots[name], 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, width := range []string{"1280", "400"} {
		light, dark := brightness(t, shots["home-"+width+"-light.png"]), brightness(t, shots["home-"+width+"-dark.png"])
		if light < 0.75 || dark > 0.35 {
			t.Errorf("at %s px the light page has brightness %.2f, expected 0.75 or more, and the dark one %.2f, expected 0.35 or less", width, light, dark)
		}
	}
}

// brightness returns a picture's mean brightness, 0 to 1.
func brightness(t *testing.T, data []byte) float64 {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var sum, n float64
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y += 3 {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X; x += 3 {
			r, g, b, _ := m.At(x, y).RGBA()
			sum += float64(r+g+b) / 3 / 0xffff
			n++
		}
	}
	return sum / n
}
