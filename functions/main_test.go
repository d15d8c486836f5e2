package functions

import (
	"fmt"
	"os"
	"testing"

	"weir.dev/weir/functions/tensorflow"
)

// TestMain lets the exported models run on any processor.
func TestMain(m *testing.M) {
	if err := tensorflow.WithOneDNN(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	m.Run()
}
