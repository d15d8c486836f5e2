package serve

import (
	"mime"
	"slices"
	"strings"
)

// imageTypes are the media types of a raw body that a graph can decode.
var imageTypes = []string{"image/jpeg", "image/png", "image/gif", "image/bmp"}

// isImage reports whether a Content-Type is of an image, one that is taken or not.
func isImage(contentType string) bool { return strings.HasPrefix(mediaType(contentType), "image/") }

func takesImage(contentType string) bool { return slices.Contains(imageTypes, mediaType(contentType)) }

// mediaType is the type of a Content-Type in lower case without parameters; image/jpg is taken for what it means.
func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t = strings.ToLower(strings.TrimSpace(contentType))
	}
	if t == "image/jpg" {
		return "image/jpeg"
	}
	return t
}
