# Writes into the header OUT the commit of SOURCE, or COMMIT where it is given; leaves OUT alone where nothing has changed.
set(commit "${COMMIT}")
if(commit STREQUAL "")
  execute_process(
    COMMAND git -C "${SOURCE}" describe --always --abbrev=12 --exclude=* --dirty=+
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(commit STREQUAL "")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT "${OUT}" CONTENT "#define KPID_COMMIT \"@commit@\"\n" @ONLY)
