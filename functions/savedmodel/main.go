// Command savedmodel is the function for any SavedModel: weir deploy runs it.
package main

import (
	"os"

	"weir.dev/weir/functions"
)

func main() { os.Exit(functions.Main(functions.Options{Name: "savedmodel"})) }
