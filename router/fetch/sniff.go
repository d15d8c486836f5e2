package fetch

import (
	"encoding/binary"
	"net/http"
	"slices"
)

// sniff says what image the bytes are. What the site claims does not count.
func sniff(data []byte) (contentType string, ok bool) {
	switch contentType = http.DetectContentType(data); contentType {
	case "image/jpeg", "image/png", "image/gif":
		return contentType, true
	case "image/bmp":
		return contentType, isBMP(data)
	}
	return "", false
}

// isBMP looks further than DetectContentType, for which any text that starts with BM is one: at the size of the second
// header, which names the format's version.
func isBMP(data []byte) bool {
	return len(data) >= 26 && slices.Contains([]uint32{12, 40, 52, 56, 64, 108, 124}, binary.LittleEndian.Uint32(data[14:]))
}
