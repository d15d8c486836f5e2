package tensorflow

import (
	"fmt"
	"regexp"

	"weir.dev/weir/functions/model"
)

// guard runs f and returns what it panics with as an error: tfgo's way to fail.
func guard(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = p
		default:
			err = fmt.Errorf("%v", p)
		}
	}()
	f()
	return nil
}

// The binding gives no code with an error, only TensorFlow's message. What reaches a session has been validated, so that
// an error is about what is in the input, such as a picture that cannot be decoded, unless it says one of these.
var (
	ofMemory = regexp.MustCompile(`(?i)\bOOM\b|out of memory|failed to allocate|resource_?exhausted`)
	ofModel  = regexp.MustCompile(`(?i)could not find (variable|resource)|uninitialized|not initialized|no op ?kernel|is not implemented|closed session|cancelled`)
)

// nodeNoise is what TensorFlow adds to a message about where in the graph it happened.
var nodeNoise = regexp.MustCompile(`(?s)\s*\[\[.*$|\s*Original stack trace.*$|\{\{[^}]*\}\}\s*`)

// runError maps an error of a session. What the input caused is the caller's to see, shortened.
func runError(err error) error {
	switch message := err.Error(); {
	case ofMemory.MatchString(message):
		return &model.Error{Code: model.ResourceExhausted, Message: "the model ran out of memory for this input", Err: err}
	case ofModel.MatchString(message):
		return &model.Error{Code: model.Internal, Message: "prediction failed", Err: err}
	default:
		return &model.Error{Code: model.InvalidArgument, Message: "the model refused its input: " + nodeNoise.ReplaceAllString(message, ""), Err: err}
	}
}
