package resolver

import "fmt"

// ParseSnapshot is what a snapshot on disk is read with, which may hold anything.
func ParseSnapshot(data []byte) (text string, err error) {
	content, err := parseSnapshot(data)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%+v", *content), nil
}
