// SPDX-License-Identifier: Apache-2.0
//
// Lines of a file around those that are meant, and tables, as users of BuildKit read them. Pure;
// any thread.
#pragma once

#include <string>
#include <vector>

namespace gantry::dockerfile {

// "Dockerfile:3", then the lines of the file with their numbers; those from `first` to `last` are
// marked. "" when there is no such line.
std::string SourceText(const std::string& name, const std::vector<std::string>& lines, int first,
                       int last);

// The cells of each row, columns side by side with `gap` blanks between them.
std::string ColumnText(const std::vector<std::vector<std::string>>& rows, size_t gap);

}  // namespace gantry::dockerfile
