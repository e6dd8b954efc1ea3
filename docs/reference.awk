# Makes comments such that Doxygen reads them: those before a declaration, those behind one in its
# line, and those in lines of their own behind a function. Headings and macros are left alone.
/^(typedef )?(struct|enum).*\{/ { in_type = 1 }
/^\}/ { in_type = 0 }
!/\\$/ && !/\/\* ----/ {
    if (/^\/\* /) sub(/\/\* /, "/** ")
    else if (/^ +\/\* /) sub(/\/\* /, in_type ? "/** " : "/**< ")
    else if (/[;,{}a-zA-Z0-9] +\/\* /) sub(/\/\* /, "/**< ")
}
# What Doxygen would take for its own: the end of a list, a reference.
/^ +\* / { sub(/#define/, "%define") }
{ gsub(/ \.\.( |$)/, " ... "); print }
