package tensorflow

// Folder finds the SavedModel that Load takes of dir.
func Folder(dir string) (string, error) {
	dir, _, err := versionFolder(dir)
	return dir, err
}
