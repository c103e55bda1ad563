"""Questions as a folder of images, and answers as another: for programs in any language.

An exam in files goes in rounds, because some questions begin with an answer: first every null intervention and every single one;
then what is done to those answers (again nothing; the same variable set back; another variable); then the third null
intervention in a row, and so on. Every round has a list of questions, `round-1/questions.csv`, and a folder for the answers,
`round-1/answers/`, one file per question.
"""
