package tensorflow

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/cpu"
)

// oneDNN turns on TensorFlow's use of Intel's library for convolutions and matrices. TensorFlow leaves it off on processors without
// instructions for neural networks, such as many of AMD's. It is faster there, too, and a graph that was optimised with it
// (functions/export/frozen.py) does not run without. Whatever starts a function should set it: images and the embedded
// engine do.
const oneDNN = "TF_ENABLE_ONEDNN_OPTS"

// WithOneDNN starts the program again with oneDNN turned on, where TensorFlow would leave it off and the environment does
// not say which: the library reads that before main. It returns if there is nothing to do, or with the reason why it could not.
func WithOneDNN() error {
	if _, said := os.LookupEnv(oneDNN); said || cpu.X86.HasAVX512VNNI || cpu.X86.HasAVXVNNI {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start again with %s=1: %w", oneDNN, err)
	}
	return fmt.Errorf("start again with %s=1: %w", oneDNN, syscall.Exec(program, os.Args, append(os.Environ(), oneDNN+"=1")))
}

// withoutOneDNN explains why a model does not run, if oneDNN is turned off.
func withoutOneDNN() string {
	switch v := os.Getenv(oneDNN); strings.ToLower(v) {
	case "0", "false":
		return " (it may need oneDNN, which " + oneDNN + "=" + v + " turns off: leave that out)"
	default:
		return ""
	}
}
